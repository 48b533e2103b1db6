"""The URLs in settings: each is read when the settings are, and refused with its cure."""

from __future__ import annotations

import os

from marshmallow import ValidationError

from saga_es.publish.brokers.url import parse_broker_url
from saga_es.queues.url import is_queue, parse_queue_url
from saga_es.runtime.calls.address import BadAddress, address_of


def is_callable(url: str) -> None:
    """Check the base URL of something over HTTP."""
    try:
        is_tls = address_of(url).is_tls
    except BadAddress as error:
        raise ValidationError(str(error)) from error
    file = os.environ.get("SSL_CERT_FILE")
    if is_tls and file and not os.access(file, os.R_OK):  # TLS would trust nobody, without a word
        raise ValidationError(f"the file {file!r} that SSL_CERT_FILE names is missing or unreadable; correct its path")


def is_reachable(url: str) -> None:
    """Check the URL of a participant: its base URL, or its queue."""
    if is_queue(url):
        are_queues(url)
    else:
        is_callable(url)


def are_callable(urls: str) -> None:
    """Check the URLs of webhooks."""
    for url in urls.split():
        is_callable(url.partition("?")[0])


def are_brokers(urls: str) -> None:
    """Check the URLs of brokers."""
    for url in urls.split():
        try:
            parse_broker_url(url)
        except ValueError as error:
            raise ValidationError(str(error)) from error


def are_queues(urls: str) -> None:
    """Check the URLs of queues."""
    for url in urls.split():
        try:
            parse_queue_url(url)
        except ValueError as error:
            raise ValidationError(str(error)) from error
