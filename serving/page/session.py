"""Who looks at the page: a key typed in once becomes a signed cookie, which no script can read.

Without a key file the service is reached from this machine only, and everybody may look; levers need an admin key in
any case.
"""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import Literal

from fastapi import Request, Response

from serving.keys import Keyring

COOKIE = "reprise_session"
LASTS_S = 8 * 3600

Role = Literal["none", "use", "admin"]


@dataclass(frozen=True)
class Visitor:
    """Who asks: the name of their key and what it opens; `token` must come back with every form."""

    name: str
    role: Role
    token: str = ""

    @property
    def may_look(self) -> bool:
        """Whether pages are shown to them."""
        return self.role != "none"

    @property
    def may_act(self) -> bool:
        """Whether levers move for them."""
        return self.role == "admin"


class Sessions:
    """Signs cookies with a secret that dies with the process."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._secret = secrets.token_bytes(32)

    def visitor(self, request: Request) -> Visitor:
        """Who this request is from."""
        role, _, rest = request.cookies.get(COOKIE, "").partition(".")
        name, _, signed = rest.partition("/")
        until, _, signature = signed.partition(".")
        signed_by_us = role in ("use", "admin") and until.isdigit() and self._fits(signature, role, name, until)
        if signed_by_us and int(until) > time.time():
            return Visitor(name, "admin" if role == "admin" else "use", self._sign("form", role, name, until))
        return Visitor("", "none" if self._keyring.path is not None else "use")

    def enter(self, secret: str, response: Response, https: bool) -> bool:
        """Set the cookie where `secret` is a key; False where it is none."""
        for role in ("admin", "use"):
            name = self._keyring.name_of(secret, role)
            if name is not None:
                until = str(int(time.time()) + LASTS_S)
                value = f"{role}.{name}/{until}.{self._sign('cookie', role, name, until)}"
                response.set_cookie(COOKIE, value, LASTS_S, httponly=True, samesite="strict", secure=https)
                return True
        return False

    def leave(self, response: Response) -> None:
        """Take the cookie back."""
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")

    def _fits(self, signature: str, role: str, name: str, until: str) -> bool:
        return hmac.compare_digest(signature.encode(), self._sign("cookie", role, name, until).encode())

    def _sign(self, purpose: str, role: str, name: str, until: str) -> str:
        content = "\0".join((purpose, role, name, until)).encode()
        return hmac.new(self._secret, content, hashlib.sha256).hexdigest()
