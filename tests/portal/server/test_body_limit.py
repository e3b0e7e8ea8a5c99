"""No page or other address accepts a body of unlimited size. Tested through the real application, below its server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from portal.asgi import application
from portal.server.body_limit import MOST_BYTES

pytestmark = pytest.mark.django_db(transaction=True)
CHUNK = b"x" * 65_536


def post(path: str, chunks: Iterator[bytes], told: int | None) -> tuple[int, str, bytes, int]:
    """Status, content type and body of the response, and how many bytes of the request were read."""
    headers = [(b"host", b"localhost"), (b"content-type", b"application/x-www-form-urlencoded")]
    if told is not None:
        headers.append((b"content-length", str(told).encode()))
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
             "raw_path": path.encode(), "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1),
             "server": ("localhost", 80)}  # fmt: skip
    sent: list[dict[str, Any]] = []
    read, is_over = 0, False

    async def receive() -> dict[str, Any]:
        nonlocal read, is_over
        if is_over:
            await asyncio.Future()  # the client waits for its answer
        chunk = next(chunks, b"")
        read += len(chunk)
        is_over = not chunk
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async_to_sync(application)(scope, receive, send)
    kind = dict(sent[0]["headers"]).get(b"content-type", b"").decode()
    return sent[0]["status"], kind, b"".join(each.get("body", b"") for each in sent[1:]), read


def endless() -> Iterator[bytes]:
    while True:
        yield CHUNK


def test_a_length_that_is_told_is_refused_before_anything_is_read(redis: Any) -> None:
    status, kind, body, read = post("/sign-in/", endless(), 10**12)
    assert (status, read) == (413, 0) and "at most 2 MB" in body.decode() and kind.startswith("text/plain")


def test_a_body_without_end_is_cut_off(redis: Any) -> None:
    status, kind, body, read = post("/api/v1/pair", endless(), None)
    assert (status, kind) == (413, "application/problem+json") and json.loads(body)["status"] == 413
    assert read <= MOST_BYTES + len(CHUNK)


def test_json_over_the_limit_is_413_wherever_the_limit_is_met(redis: Any) -> None:
    """Django would answer 400 to what is between its limit and ours."""
    from django.conf import settings

    assert settings.DATA_UPLOAD_MAX_MEMORY_SIZE == MOST_BYTES
    status, kind, body, _read = post("/api/v1/pair", iter([b" " * (MOST_BYTES + 1)]), None)
    assert (status, kind) == (413, "application/problem+json") and json.loads(body)["status"] == 413
    status, _kind, _body, _read = post("/api/v1/pair", iter([b" " * (MOST_BYTES - 1)]), None)
    assert status in {400, 415, 422}, "read, and no JSON"


def test_what_fits_passes(redis: Any) -> None:
    status, _kind, _body, read = post("/pair/redeem/", iter([b"a=" + CHUNK]), None)
    assert status in {200, 403} and read == len(CHUNK) + 2
