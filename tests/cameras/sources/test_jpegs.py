"""Pictures are found in a web camera's stream by their own marks, whatever stands around them."""

from __future__ import annotations

import cv2
import h11
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.reach import lenient_head
from cameras.sources.jpegs import MOST_BYTES, JpegCutter

GREY = np.full((48, 64, 3), 128, np.uint8)
NOISE = np.random.default_rng(5).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def jpeg(image: np.ndarray, *flags: int) -> bytes:
    return bytes(cv2.imencode(".jpg", image, list(flags))[1])


PLAIN, PROGRESSIVE = jpeg(NOISE), jpeg(NOISE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = jpeg(NOISE, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)


def with_thumbnail(picture: bytes) -> bytes:
    """With another picture, and its marks, in a segment of the first."""
    inner = b"Exif\0\0" + jpeg(GREY)
    return picture[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + picture[2:]


PICTURES = [PLAIN, PROGRESSIVE, RESTARTS, with_thumbnail(PLAIN), PLAIN[:2] + b"\xff\xff" + PLAIN[3:]]
around = st.one_of(
    st.binary(max_size=60).filter(lambda text: b"\xff" not in text),
    st.sampled_from(
        [b"", b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 7\r\n\r\n", b"\r\n--frame\r\n", b"\0" * 9]
    ),
)


def cut(data: bytes, step: int) -> list[bytes]:
    cutter = JpegCutter()
    return [found for start in range(0, len(data), step) for found in cutter.cut(data[start : start + step])]


@given(st.lists(st.tuples(around, st.sampled_from(PICTURES)), max_size=6), around, st.integers(1, 5000))
def test_pictures_are_found_whatever_is_around_them(parts: list[tuple[bytes, bytes]], end: bytes, step: int) -> None:
    data = b"".join(before + picture for before, picture in parts) + end
    assert cut(data, step) == [picture for _, picture in parts]


def test_each_picture_is_there_as_soon_as_its_last_byte_is() -> None:
    cutter = JpegCutter()
    assert list(cutter.cut(PLAIN[:-1])) == [] and list(cutter.cut(PLAIN[-1:])) == [PLAIN]


def test_a_picture_without_its_end_is_ended_by_the_next() -> None:
    first, second = cut(PLAIN[:-2] + b"\r\n--frame\r\n\r\n" + PLAIN, 700)
    assert second == PLAIN and first.endswith(b"\xff\xd9")
    image = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == GREY.shape


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_cut_without_end(data: bytes, step: int) -> None:
    found = cut(b"\xff\xd8\xff" + data + PLAIN, step)
    assert all(each.startswith(b"\xff\xd8\xff") for each in found)


def test_what_never_ends_is_dropped() -> None:
    endless = PLAIN[:-2] + bytes(MOST_BYTES)
    found = cut(endless + PLAIN, 1_000_000)
    assert found == [PLAIN]


# -- heads of answers -------------------------------------------------------------------------------------------------


def parsed(head: bytes) -> h11.Response:
    """As httpx reads it."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "camera")]))
    connection.receive_data(lenient_head.repaired(head) + b"\r\n\r\n")
    event = connection.next_event()
    assert isinstance(event, h11.Response)
    return event


@pytest.mark.parametrize(
    ("head", "status", "headers"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg", 200, {b"content-type": b"image/jpeg"}),
        (b"ICY 200 OK\r\nContent-Type: video/mp2t", 200, {b"content-type": b"video/mp2t"}),
        (b"HTTP/1.1 200\nContent-Type: a/b", 200, {b"content-type": b"a/b"}),
        (b"HTTP/1.1 200 OK\r\nTue, 12 Jun 2012 01:56:34 GMT\r\nContent-Type : a/b", 200, {b"content-type": b"a/b"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\nA: b", 200, {b"a": b"b"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7", 200, {}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", 200, {b"content-length": b"5"}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity", 200, {}),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
            200,
            {b"transfer-encoding": b"chunked"},
        ),
        (b"HTTP/1.1 200 OK\r\n: no name\r\nA\x00B: c\r\nD: e\x01f", 200, {b"d": b"ef"}),
        (b"HTTP/1.1 401 No\r\nContent-Length: -1", 401, {b"content-length": b"0", b"connection": b"close"}),
    ],
)
def test_heads_that_a_browser_would_take_are_taken(head: bytes, status: int, headers: dict[bytes, bytes]) -> None:
    answer = parsed(head)
    assert answer.status_code == status and dict(answer.headers) == headers


no_line_end = st.binary(max_size=30).filter(lambda line: b"\n" not in line)
lines = st.one_of(
    no_line_end,
    st.tuples(st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Connection", b"X"]),
              st.sampled_from([b":", b" : ", b""]), no_line_end).map(b"".join),
)  # fmt: skip


@given(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 401", b"ICY 200 OK", b"HTTP/2 404 \x01"]),
    st.lists(lines, max_size=8),
)
def test_any_lines_after_a_status_are_a_head(status: bytes, given_: list[bytes]) -> None:
    assert parsed(b"\r\n".join([status, *given_])).status_code in {200, 401, 404}


@given(st.binary(max_size=60))
def test_what_is_no_head_is_left_as_it_is(data: bytes) -> None:
    if not lenient_head.may_begin(data):
        assert lenient_head.repaired(data) == data
