"""How large any request's body may be: Django would spool any size to disk first."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

PLAIN = b"text/plain; charset=utf-8"
MOST_BYTES = 2_000_000  # a frame has 512 KB at most, a form 1 MB


class BodyLimit:
    """ASGI middleware: answers 413 (RFC 9110, section 15.5.14) as soon as a body is known to be too large.

    An announced length is checked before anything is read; otherwise, what has arrived is counted.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > MOST_BYTES:
            await refuse(scope["path"], send)
            return
        came, has_begun = 0, False

        async def count() -> Any:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            return message if came <= MOST_BYTES else {"type": "http.disconnect"}  # Django closes what it spooled

        async def note(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        await self._application(scope, count, note)
        if came > MOST_BYTES and not has_begun:
            await refuse(scope["path"], send)


async def refuse(path: str, send: Any, most_bytes: int = MOST_BYTES) -> None:
    """Refuse it: to programs as in RFC 9457, to people as a sentence."""
    most = f"{most_bytes // 1_000_000} MB" if most_bytes >= 1_000_000 else f"{most_bytes // 1000} KB"
    text = f"This request may have at most {most}."
    if path.startswith("/api/"):
        kind = b"application/problem+json"
        title = HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase
        problem = {"type": "about:blank", "title": title, "status": 413, "detail": text}
        body = json.dumps(problem).encode()
    else:
        kind, body = PLAIN, text.encode()
    await answer(send, 413, body, kind)


async def answer(send: Any, status: int, body: bytes, kind: bytes = PLAIN, retry_after_s: int = 0) -> None:
    """Answer a request in place of the application, and hang up."""
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    if retry_after_s:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
