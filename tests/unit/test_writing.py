"""Requests as bytes: what `http.client` would write, and nothing that would be read as another request."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_es.runtime.calls.address import DEFAULT_PORTS, Address
from saga_es.runtime.calls.writing import host_of, written

ADDRESSES = [
    Address(is_tls=False, host="bank", port=80, prefix=""),
    Address(is_tls=False, host="bank", port=443, prefix=""),
    Address(is_tls=True, host="bank.example", port=443, prefix="/v1"),
    Address(is_tls=True, host="bank.example", port=8443, prefix=""),
    Address(is_tls=False, host="::1", port=80, prefix=""),
    Address(is_tls=False, host="fe80::1%eth0", port=5000, prefix=""),
]

plain = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
names = st.text(st.sampled_from("ABCdef-_09"), min_size=1, max_size=20).map(lambda name: f"X-{name}")


class Draft(HTTPConnection):
    """Writes a request down, and sends nothing."""

    def __init__(self, address: Address) -> None:
        super().__init__(address.host, address.port)
        self.default_port = DEFAULT_PORTS["https" if address.is_tls else "http"]
        self.written: list[bytes] = []

    def send(self, data: Any) -> None:
        """Keep what would be sent."""
        self.written.append(data)


@given(
    st.sampled_from(ADDRESSES),
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]),
    st.text(st.sampled_from("abc/%?=&~!$'()*+,;:@."), max_size=30).map(lambda rest: f"/{rest}"),
    st.dictionaries(names, st.text(plain, max_size=40), max_size=6),
    st.none() | st.binary(max_size=40),
)
def test_a_request_is_written_as_by_the_standard_library(
    address: Address, method: str, target: str, headers: dict[str, str], body: bytes | None
) -> None:
    """To the byte: its host, its length, its headers in their order."""
    draft = Draft(address)
    draft.request(method, target, body, headers)
    by_library = b"".join(draft.written)
    zone = b"fe80::1%eth0"
    assert written(host_of(address), method, target, headers, body) == by_library.replace(zone, b"fe80::1")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/a b"),
        ("POST", "/a\r\nX-Evil: 1"),
        ("POST", "/a\tb"),
        ("POST", "/\x00"),
        ("POST", "/\x7f"),
        ("POST", "/jöbs"),
        ("PO ST", "/"),
        ("POST\n", "/"),
    ],
)
def test_a_first_line_that_would_end_elsewhere_is_not_written(method: str, target: str) -> None:
    """Blanks, controls and what is not ASCII are quoted, or they are refused."""
    with pytest.raises(ValueError, match="cannot be sent"):
        written("bank", method, target, {}, None)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "a\r\n b", "a\0b", "\n", "secret\n"])
def test_a_header_that_would_be_two_is_not_written(value: str) -> None:
    """Nor is its value shown: it may be a secret."""
    for headers in ({"Authorization": value}, {f"X{value}": "1"}):
        with pytest.raises(ValueError, match="a header has a line break or NUL") as caught:
            written("bank", "POST", "/", {"X-Saga-Step": "pay", **headers}, b"{}")
        assert "secret" not in str(caught.value).replace("Xsecret", "")


def test_a_header_that_has_no_form_on_the_wire_is_not_written() -> None:
    """Whoever makes headers quotes what is not Latin-1."""
    with pytest.raises(UnicodeEncodeError):
        written("bank", "POST", "/", {"X-Name": "日本"}, None)
