"""`saga-es doctor`."""

from __future__ import annotations

import os
import sys
import time

import click

from saga_es.cli import output
from saga_es.cli.options import FAILURE, NO_DATABASE, app_of, as_json_option, settings_options
from saga_es.errors import NotMigrated
from saga_es.node.examine import examine_process
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.node.waiting import waiting_for_code
from saga_es.store.admin import migrate
from saga_es.store.admin.doctor import examine
from saga_es.store.drivers.finding import Finding


def _code(node: Node) -> list[Finding]:
    """The sagas that no living worker can run."""
    found = waiting_for_code(node.store, node.code)
    cure = "start a worker with that code, or keep it as retired code"
    shown = [f"{_counted(one.sagas)}, of {one.saga!r}, for a worker that has {one.wanted}: {cure}" for one in found]
    return [Finding("code", "warning", words) for words in shown] or [
        Finding("code", "ok", "living workers have the code of every saga that waits for one")
    ]


def _counted(sagas: int) -> str:
    return "1 saga waits" if sagas == 1 else f"{sagas} sagas wait"


@click.command(short_help="Check the database, its settings and the workers.")
@settings_options(as_json_option)
def doctor(settings: Settings, as_json: bool) -> None:
    """Check the database and its settings, the clock, the workers, the sagas, the growth of the log, the participants.

    Exit 0 when no finding breaks a promise (a warning does not), 1 when one does, 8 when the database is unreachable or
    not migrated.
    """
    node = Node(settings, app_of(settings))
    try:
        if node.database.is_missing():
            raise NotMigrated(None, migrate.head())
        findings = examine(node.database, node.store.workers, node.store.log, time.time())
        from saga_es.cli.work import answer_calls  # noqa: PLC0415 (needs Flask, for the participants in this process)

        answer_calls(node)
        findings += examine_process(node, os.environ)
        if not any(finding.subject == "migration" and finding.verdict == "fault" for finding in findings):
            findings += _code(node)
    finally:
        node.database.close()
    output.show_findings(findings, as_json=as_json)
    faults = [finding.subject for finding in findings if finding.verdict == "fault"]
    if "migration" in faults:
        sys.exit(NO_DATABASE)
    if faults:
        sys.exit(FAILURE)
