"""Answers to a camera's challenge for user and password: Basic (RFC 7617) and Digest (RFC 7616).

They are the same for HTTP and RTSP; httpx computes them. Cameras lock an account after a few wrong logins, so there are
at most two per connection, and the second only if the camera has changed its nonce since the first. The login is never
part of an address, so no library can put it into a message.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import httpx
from django.utils.translation import gettext as _

from cameras.errors import LoginError

MOST_ANSWERS = 2
ALGORITHMS = {
    "SHA-256": 3,
    "SHA-256-SESS": 3,
    "SHA": 2,
    "SHA-SESS": 2,
    "MD5": 1,
    "MD5-SESS": 1,
}  # the greater the better

_TOKEN = re.compile(r"[^\s,=\"]+")
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"?|([^\s,]*)', re.DOTALL)
_EQUALS = re.compile(r"\s*=\s*")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*\s*(?=,|$)")


@dataclass(frozen=True)
class Challenge:
    """One way to sign in that a camera offers; names in lower case."""

    scheme: str
    fields: Mapping[str, str]

    @property
    def algorithm(self) -> str:
        return (self.fields.get("algorithm") or "MD5").upper()

    @property
    def strength(self) -> int:
        """The greater the better; negative if it is not known here."""
        if self.scheme == "basic":
            return 0
        qop = [each.strip().lower() for each in self.fields.get("qop", "").split(",") if each.strip()]
        if self.scheme != "digest" or not self.fields.get("nonce") or (qop and "auth" not in qop):
            return -1
        return ALGORITHMS.get(self.algorithm, -1)

    @property
    def is_stale(self) -> bool:
        return self.fields.get("stale", "").lower() == "true"

    def header(self) -> str:
        """The challenge as httpx reads it: only what it knows, each once."""
        fields = {name: self.fields.get(name, "") for name in ("realm", "nonce", "opaque")}
        parts = [f'{name}="{value}"' for name, value in fields.items() if value or name == "realm"]
        parts.append(f"algorithm={self.algorithm}")
        if self.fields.get("qop", "").strip(" ,"):
            parts.append('qop="auth"')
        return f"Digest {', '.join(parts)}"


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """The challenges in WWW-Authenticate headers (RFC 9110, section 11.6.1): several may be in one, apart by commas.

    Basic realm="cam", Digest realm="cam", nonce = "1", qop=    two challenges
    """
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        position = 0
        while position < len(header):
            name = _TOKEN.match(header, position)
            if name is None:
                position += 1
                continue
            equals = _EQUALS.match(header, name.end())
            if equals is not None and found:
                value = _VALUE.match(header, equals.end())
                text = "" if value is None else value[1] if value[1] is not None else value[2]
                found[-1][1].setdefault(name[0].lower(), text)
                position = equals.end() if value is None else value.end()
                continue
            found.append((name[0].lower(), {}))
            position = name.end()
            blob = _TOKEN68.match(header, position + 1)
            if blob is not None and found[-1][0] not in {"digest", "basic"}:
                position = blob.end()
    return [Challenge(scheme, fields) for scheme, fields in found]


class Login(httpx.Auth):
    """The login at one camera, over one connection."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._method: httpx.Auth | None = None
        self._answers = 0
        self._nonce = ""

    @property
    def is_used(self) -> bool:
        """Whether a challenge was answered."""
        return self._answers > 0

    @property
    def is_worn_out(self) -> bool:
        """Whether this connection has had all of its logins."""
        return self._answers >= MOST_ANSWERS

    def header(self, method: str, uri: str) -> str:
        """The Authorization header for a further request; empty before the first challenge."""
        if self._method is None:
            return ""
        request = request_for(method, uri)
        next(self._method.auth_flow(request))
        return str(request.headers.get("Authorization", ""))

    def answer(self, method: str, uri: str, challenges: Sequence[str]) -> str:
        """The Authorization header that answers the best of a 401's WWW-Authenticate headers.

        Raises LoginError if there is no user, the login was refused, or the camera asks in an unknown way.
        """
        if not self._user:
            raise LoginError(_("The camera asks for a user and a password. Fill in both."))
        if not can_be_sent(self._user + self._password):
            raise LoginError(_("There is a line break in the user or the password. Type both again."))
        known = [each for each in parse_challenges(challenges) if each.strength >= 0]
        if not known:
            raise unsupported()
        best = max(known, key=lambda challenge: challenge.strength)
        nonce = best.fields.get("nonce", "") if best.scheme == "digest" else ""
        if self.is_worn_out or (self.is_used and not best.is_stale and nonce == self._nonce):
            raise refused()
        self._answers += 1
        self._nonce = nonce
        if best.scheme == "basic":
            self._method = httpx.BasicAuth(self._user, self._password)
            return self.header(method, uri)
        self._method = httpx.DigestAuth(self._user, self._password)
        return self._answer_digest(self._method, request_for(method, uri), best)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        while response.status_code == 401:
            uri = request.url.raw_path.decode("ascii")
            challenges = response.headers.get_list("www-authenticate")
            request.headers["Authorization"] = self.answer(request.method, uri, challenges)
            response = yield request

    @staticmethod
    def _answer_digest(method: httpx.DigestAuth, request: httpx.Request, challenge: Challenge) -> str:
        flow = method.auth_flow(request)
        next(flow)
        header = challenge.header().encode("utf-8", "surrogateescape")
        try:
            flow.send(
                httpx.Response(401, headers=[(b"www-authenticate", header)], request=httpx.Request("GET", "http://c/"))
            )
        except (httpx.ProtocolError, NotImplementedError, KeyError, ValueError) as error:
            raise unsupported() from error
        return str(request.headers.get("Authorization", ""))


def can_be_sent(text: str) -> bool:
    """Whether a user or a password has no control characters, which would end a header or a line of it."""
    return not re.search(r"[\x00-\x1f\x7f]", text)


def request_for(method: str, uri: str) -> httpx.Request:
    request = httpx.Request(method, "http://camera/")
    request.url = SimpleNamespace(raw_path=uri.encode())  # type: ignore[assignment]  # RTSP signs the whole URI
    return request


def refused() -> LoginError:
    return LoginError(
        _("The camera does not accept this user and password. Type both again; some have a separate user for streams.")
    )


def unsupported() -> LoginError:
    return LoginError(_("The camera asks for a kind of login that is not supported. Set it to Digest or Basic."))
