"""Who may open a socket: a page of this portal only. Browsers send cookies with any page's sockets (RFC 6455)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host


class SameOrigin:
    """ASGI middleware: denies a socket whose Origin is not the requested scheme, host and port.

    Channels' own validator compares only host names: any other server on this machine would pass.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._denier = WebsocketDenier()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        scheme = {"wss": "https", "https": "https"}.get(scope.get("scheme", ""), "http")
        same = is_same(headers.get(b"origin", ""), headers.get(b"host", ""), scheme)
        chosen = self._application if same else self._denier
        return await chosen(scope, receive, send)


def is_same(origin: str, host: str, scheme: str) -> bool:
    """Whether a page of `origin` came from us: over `scheme`, from `host` (with a port unless it is the default).

    >>> is_same("http://localhost:8000", "localhost:8000", "http")
    True
    """
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    domain, _port = split_domain_port(host)
    if not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    try:
        parts = urlsplit(origin)
        default = {"http": 80, "https": 443}[parts.scheme]
        asked = urlsplit(f"//{host}")
        if parts.scheme != scheme:
            return False  # a page that came unencrypted may be anybody's
        return (parts.hostname, parts.port or default) == (asked.hostname, asked.port or default)
    except (ValueError, KeyError):
        return False
