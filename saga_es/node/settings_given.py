"""The settings as keywords, so that a type checker knows their names and types."""

from __future__ import annotations

from typing import TypedDict


class SettingsGiven(TypedDict, total=False):
    """The settings that `open_engine` takes beside URL and application; `Settings` says what each means."""

    table_prefix: str
    host: str
    port: int
    threads: int
    waiting_requests: int
    request_timeout_s: float
    allowed_hosts: str
    auth: str | None
    jwt_issuer: str
    jwt_audience: str
    jwt_jwks: str
    jwt_algorithms: str
    jwt_roles_claim: str
    insecure_no_auth: bool
    trusted_proxies: int
    sagas_at_once: int
    call_threads: int
    calls_at_once: int
    lease_s: float
    most_crashes: int
    missing_code_timeout_s: float | None
    leave_older_plans: bool
    payload_limit: int
    saga_events_limit: int
    saga_bytes_limit: int
    payload_memory_mb: int
    execute_timeout_s: float
    grace_s: float
    database_wait_s: float
    console: bool
    metrics: bool
    traces: bool
    health_port: int | None
    health_host: str
    log_level: str
    log_format: str | None
    webhook: str
    webhook_secret: str
    webhook_senders: str
    publish: str
    listen: str
    encryption_key_file: str | None
    insecure_http: bool
    callback_url: str
    callback_secret: str
    credentials: dict[str, dict[str, str]]
    participants: dict[str, str]
    limits: dict[str, dict[str, float]]
