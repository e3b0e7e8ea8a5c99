"""Video over HTTP: MJPEG (multipart/x-mixed-replace), MPEG-TS, MP4.

httpx fetches and FFmpeg gets a file object, so it opens no connection of its own. No redirect is followed, no playlist
read, no proxy from the environment used; the connection goes to the checked address (cameras/reach/checked_http.py).
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Iterator

import httpx
from django.utils.translation import gettext as _

from cameras.errors import CameraError, StreamError
from cameras.reach import addresses
from cameras.reach.checked_http import checked_client
from cameras.reach.login import Login, refused
from cameras.sources.base import Opening, register
from cameras.sources.carrier import Carrier, Watchdog, fault_of_status
from cameras.sources.jpegs import MOST_BYTES, JpegCutter
from cameras.sources.stream import Stream

log = logging.getLogger(__name__)

HEADERS_S = 8.0  # for all of an answer's headers together, however slowly they trickle in
FIRST_S = 12.0  # from the request to the first bytes of a picture
MOST_BETWEEN_BYTES = 1_000_000  # that belong to no picture, before the stream is none
KERNEL_BYTES = 262_144  # that may wait for us: a second or two of video, so that nobody looks at the past
FORMATS = {
    "video/mp2t": "mpegts",
    "video/mpeg": "mpegts",
    "video/mp4": "mp4",
}
MJPEG = "mpjpeg"
JPEG_TYPE = re.compile(r"m?jpe?g")
PART = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
PLAYLISTS = {"application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/x-mpegurl", "audio/mpegurl",
             "application/dash+xml", "application/sdp", "video/x-ms-asf"}  # fmt: skip


class Body(Carrier):
    """An answer's body as the file object that FFmpeg reads."""

    def __init__(self, opening: Opening) -> None:
        self.watchdog = Watchdog()
        self.stop: threading.Event = opening.stop
        self._fault: CameraError | None = None
        self._deadline: float | None = time.monotonic() + HEADERS_S
        self._ending = False
        self._client = checked_client(self.check, opening.stop, HEADERS_S, opening.reached)
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._rest = b""
        self._cutter: JpegCutter | None = None

    @property
    def fault(self) -> CameraError | None:
        return self._fault and self._fault.fresh()

    def check(self) -> None:
        """Raise if reading should end now."""
        if self.stop.is_set() or self._ending:
            raise self._fail(StreamError(_("The camera is no longer watched.")))
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise self._fail(StreamError(_("The camera accepted the connection, but does not answer. Restart it.")))
        if self._deadline is None and self.watchdog.is_due:
            raise self._fail(self.watchdog.fault())

    def _fail(self, fault: CameraError) -> CameraError:
        self._fault = self._fault or fault.fresh()
        return self._fault.fresh()

    def open(self, opening: Opening) -> str:
        """Ask for the stream; returns FFmpeg's name of its format. Raises CameraError."""
        address = addresses.parse_address(opening.place.address, ("http", "https"))
        request = self._client.build_request("GET", address.url)
        asked_at = time.monotonic()
        try:
            login = Login(opening.place.user, opening.place.password)
            self._response = self._client.send(request, auth=login, stream=True)
        except httpx.HTTPError as error:
            raise self._http_fault(error) from None
        self._check_status(self._response.status_code)
        opening.reached("login")
        connection = self._response.extensions["network_stream"].get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
        self._deadline = asked_at + FIRST_S
        self._chunks = self._response.iter_raw()
        self._rest = self._take()
        name = self._format(self._response.headers.get("content-type", ""))
        if name == MJPEG:
            self._cutter = JpegCutter()
            self._rest = self._cut(self._rest)
        self._deadline = None
        self.watchdog.heard()
        return name

    def _http_fault(self, error: httpx.HTTPError) -> CameraError:
        if (kept := self.fault) is not None:
            return kept
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return StreamError(
                _("The camera's certificate is not trusted here. Use http:// inside your own network, or "
                  "give the camera a certificate from an authority that this machine trusts."),
                permanent=True,
            )  # fmt: skip
        if isinstance(error, httpx.ProtocolError):
            return StreamError(_("The answer from there is not valid HTTP. Is this the camera's web port?"))
        return StreamError(_("The connection to the camera was lost."))

    def _check_status(self, status: int) -> None:
        if status == 401:
            raise refused()
        if (known := fault_of_status(status)) is not None:
            raise known
        if status != 200:
            raise StreamError(_("The camera answers with error %(status)d.") % {"status": status})

    def _format(self, content_type: str) -> str:
        """FFmpeg's format, forced: by the declared type, or by the first bytes.

        Playlists are refused: they name other addresses.
        """
        told = content_type.partition(";")[0].strip().lower()
        first = self._rest[:512]
        if told in PLAYLISTS or first.lstrip().startswith((b"#EXTM3U", b"<MPD", b"[playlist]", b"v=0")):
            raise StreamError(
                _("This is a playlist, which names other addresses; those are not opened. Enter the stream's own."),
                permanent=True,
            )
        if told in FORMATS:
            return FORMATS[told]
        if told.startswith("image/") and b"\xff\xd8" in first:
            self._check_more_than_one()
            return MJPEG
        if told.startswith("multipart/") or JPEG_TYPE.search(told):
            return MJPEG
        if first[4:8] == b"ftyp":
            return "mp4"
        if first[:1] == b"G" and first[188:189] in {b"G", b""}:
            return "mpegts"
        if first.lstrip()[:2] == b"--" or b"\xff\xd8\xff" in first:
            return MJPEG
        if told == "text/html" or first.lstrip()[:1] == b"<":
            raise StreamError(
                _("This is a web page, not a video. Enter the address of the stream itself."), permanent=True
            )
        raise unsupported()

    def _check_more_than_one(self) -> None:
        """Of JPEGs one after another there is a second one; a picture to look at once ends after the first."""
        cutter, seen = JpegCutter(), self._rest
        pictures = len(list(cutter.cut(seen)))
        length = self._response.headers.get("content-length") if self._response is not None else None
        while pictures < 2 and (length is None or len(self._rest) < int(length)) and len(self._rest) < MOST_BYTES:
            seen = self._take()
            if not seen:
                break
            self._rest += seen
            pictures += len(list(cutter.cut(seen)))
        if pictures < 2:
            raise StreamError(
                _("This address gives only a single picture. Enter the address of the video (MJPEG or RTSP)."),
                permanent=True,
            )

    def _cut(self, data: bytes) -> bytes:
        """The pictures in these bytes, as parts with their right length; FFmpeg gives each at once."""
        if self._cutter is None:
            return data
        parts = b"".join(PART % len(picture) + picture + b"\r\n" for picture in self._cutter.cut(data))
        if parts:
            self.watchdog.heard()
        elif self._cutter.dropped > MOST_BETWEEN_BYTES:
            raise self._fail(unsupported())
        return parts

    def _take(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except httpx.HTTPError as error:
            raise self._fail(self._http_fault(error)) from None

    # -- the file object --------------------------------------------------------------------------------------------

    def read(self, size: int) -> bytes:
        """At most `size` bytes; empty at the end."""
        while not self._rest:
            data = self._take()
            if not data:
                return b""
            self._rest = self._cut(data)
            if self._cutter is None:
                self.watchdog.heard()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        self._ending = True
        if self._response is not None:
            self._response.close()
        self._client.close()


def unsupported() -> StreamError:
    return StreamError(_("This address does not send a supported video format (MJPEG, MPEG-TS or MP4)."))


@register("http")
def open_http(opening: Opening) -> Stream:
    body = Body(opening)
    try:
        name = body.open(opening)
    except BaseException:
        body.close()
        raise
    return Stream.open(body, body, name, {"protocol_whitelist": "none"})  # it opens nothing by itself
