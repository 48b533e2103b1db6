"""An authentication for tests: the token of a request is the name of a principal."""

from __future__ import annotations

from flask import Request

from saga_es.access import Principal, Role

BY_ROLE = {role.value: Principal(f"a {role.value}", [role]) for role in Role}


class Bearers:
    """Knows principals by their tokens."""

    def __init__(self, **principals: Principal) -> None:
        self.principals = BY_ROLE | principals

    def __call__(self, request: Request) -> Principal | None:
        """The principal of a request."""
        return self.principals.get(request.headers.get("Authorization", "").removeprefix("Bearer "))


def as_(token: str) -> dict[str, str]:
    """The headers of a request with this token."""
    return {"Authorization": f"Bearer {token}"}
