"""Who may open a socket: a page of this portal only. Browsers send cookies with any page's sockets (RFC 6455)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host


class SameOrigin:
    """ASGI middleware: denies a socket whose Origin is not the requested host and port.

    Channels' own validator compares only host names: any other server on this machine would pass.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._denier = WebsocketDenier()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        chosen = self._application if is_same(headers.get(b"origin", ""), headers.get(b"host", "")) else self._denier
        return await chosen(scope, receive, send)


def is_same(origin: str, host: str) -> bool:
    """Whether a page of `origin` was served by `host` (with a port unless it is the scheme's default), and we serve it.

    >>> is_same("http://localhost:8000", "localhost:8000")
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
        return (parts.hostname, parts.port or default) == (asked.hostname, asked.port or default)
    except (ValueError, KeyError):
        return False
