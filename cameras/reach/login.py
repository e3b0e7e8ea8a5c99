"""Answers to a camera's challenge for user and password: Basic (RFC 7617) and Digest (RFC 7616).

They are the same for HTTP and RTSP; httpx computes them. One answer per connection: cameras lock an account after a few
wrong ones. The login is never part of an address, so no library can put it into a message.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import SimpleNamespace

import httpx
from django.utils.translation import gettext as _

from cameras.errors import LoginError


class Login(httpx.Auth):
    """The login at one camera, over one connection."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._method: httpx.Auth | None = None

    @property
    def is_used(self) -> bool:
        """Whether a challenge was answered."""
        return self._method is not None

    def forget(self) -> None:
        """Answer the next challenge again: the login was right, the camera only needs a new nonce."""
        self._method = None

    def header(self, method: str, uri: str) -> str:
        """The Authorization header for a further request, after `answer`; empty before."""
        return self._header(method, uri, None) if isinstance(self._method, httpx.DigestAuth) else self._basic()

    def answer(self, method: str, uri: str, challenges: Sequence[str]) -> str:
        """The Authorization header that answers a 401's WWW-Authenticate headers.

        Raises LoginError if there is no user, the camera asks a second time, or it asks in an unknown way.
        """
        if not self._user:
            raise LoginError(_("The camera asks for a user and a password. Fill in both."))
        stale = any("stale=true" in challenge.lower().replace('"', "") for challenge in challenges)
        if self._method is not None and not stale:
            raise refused()
        ways = {challenge.split(" ", 1)[0].lower(): challenge for challenge in challenges}
        if "digest" in ways:
            self._method = httpx.DigestAuth(self._user, self._password)
            return self._header(method, uri, ways["digest"])
        if "basic" in ways:
            self._method = httpx.BasicAuth(self._user, self._password)
            return self._basic()
        raise LoginError(_("The camera asks for a kind of login that is not supported. Set it to Digest or Basic."))

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        if response.status_code == 401:
            uri = request.url.raw_path.decode("ascii")
            request.headers["Authorization"] = self.answer(
                request.method, uri, response.headers.get_list("www-authenticate")
            )
            yield request

    def _basic(self) -> str:
        return self._header("GET", "/", None) if self._method is not None else ""

    def _header(self, method: str, uri: str, challenge: str | None) -> str:
        method_ = self._method or httpx.BasicAuth(self._user, self._password)
        request = httpx.Request(method, "http://camera/")
        request.url = SimpleNamespace(raw_path=uri.encode())  # type: ignore[assignment]  # RTSP signs the whole URI
        flow = method_.auth_flow(request)
        next(flow)
        if challenge is not None:
            answer = httpx.Response(
                401, headers={"www-authenticate": challenge}, request=httpx.Request("GET", "http://c/")
            )
            try:
                flow.send(answer)
            except (httpx.ProtocolError, NotImplementedError, KeyError, ValueError) as error:
                raise LoginError(
                    _("The camera asks for a kind of login that is not supported. Set it to Digest or Basic.")
                ) from error
        return str(request.headers.get("Authorization", ""))


def refused() -> LoginError:
    return LoginError(
        _("The camera does not accept this user and password. Type both again; some have a separate user for streams.")
    )
