"""RTSP (RFC 2326), through a relay of ours on loopback: FFmpeg talks to the relay, the relay to the camera.

FFmpeg by itself follows a 302 to wherever it leads, sends datagrams to whatever address a camera names, and writes the
password into its errors. Behind the relay it knows neither the camera's address nor the login:

    FFmpeg ── rtsp://127.0.0.1:port/token/0 ──▶ relay ── rtsp://192.168.1.20/stream1 ──▶ camera
              always interleaved (TCP)           signs in, maps addresses,   TCP or UDP, with the one checked
                                                 answers redirects itself    address alone

A request's URI is looked up in a table that the relay made from the camera's SDP; there is no other way to name one.
"""

from __future__ import annotations

import logging
import re
import secrets
import selectors
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urljoin, urlsplit

from django.utils.translation import gettext as _

from cameras.errors import CameraError, StreamError
from cameras.reach import addresses
from cameras.reach.addresses import TICK_S, NetworkAddress
from cameras.reach.login import Login
from cameras.sources.base import Opening, register
from cameras.sources.feed import Silence, fault_of_status
from cameras.sources.stream import Stream

log = logging.getLogger(__name__)

MOST_HEADER_BYTES = 16_384
MOST_BODY_BYTES = 65_536
ANSWER_S = 8.0  # for one answer of the camera
CHUNK = 65_536
UDP_PACKET = 65_535
MOST_PENDING = 16
TO_CAMERA = ("accept", "session", "range", "scale", "content-type")
TO_FFMPEG = ("public", "session", "content-type", "range", "scale")


class ProtocolFault(Exception):
    """The other side does not speak RTSP."""


@dataclass
class Message:
    """A request or an answer, its headers by lower-case name, in order; a name may come twice."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def status(self) -> int:
        """Of an answer; 0 where there is none."""
        parts = self.start.split(" ", 2)
        return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() and len(parts[1]) == 3 else 0

    def encode(self) -> bytes:
        headers = [(name, value) for name, value in self.headers if name != "content-length"]
        if self.body:
            headers.append(("content-length", str(len(self.body))))
        lines = [self.start, *(f"{name.title()}: {value}" for name, value in headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + self.body


class Reader:
    """Cuts a byte stream into messages and interleaved packets (RFC 2326, section 10.12)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Message | tuple[int, bytes] | None:
        """The next message, the next packet as (channel, payload), or None where more must come first."""
        buffer = self._buffer
        while buffer[:2] == b"\r\n":  # some send an empty line between two messages
            del buffer[:2]
        if not buffer:
            return None
        if buffer[0] == 0x24:
            if len(buffer) < 4:
                return None
            length = int.from_bytes(buffer[2:4], "big")
            if len(buffer) < 4 + length:
                return None
            packet = buffer[1], bytes(buffer[4 : 4 + length])
            del buffer[: 4 + length]
            return packet
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > MOST_HEADER_BYTES:
                raise ProtocolFault("its headers do not end")
            return None
        if end > MOST_HEADER_BYTES:
            raise ProtocolFault("its headers are too long")
        message = read_head(bytes(buffer[:end]))
        length_text = message.get("content-length") or "0"
        if not length_text.isdecimal() or len(length_text) > 6 or int(length_text) > MOST_BODY_BYTES:
            raise ProtocolFault("its answer is too long")
        total = end + 4 + int(length_text)
        if len(buffer) < total:
            return None
        message.body = bytes(buffer[end + 4 : total])
        del buffer[:total]
        return message


def read_head(head: bytes) -> Message:
    start, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    if "RTSP/1.0" not in start:
        raise ProtocolFault("it does not speak RTSP")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.append((name.strip().lower(), value.strip()))
    return Message(start, headers)


@dataclass
class Track:
    """One medium that was set up: the camera's side and FFmpeg's."""

    client_channel: int
    camera_channel: int = -1  # TCP
    sockets: tuple[socket.socket, socket.socket] | None = None  # UDP: for pictures, and for their reports
    server_ports: tuple[int, int] = (0, 0)


@dataclass
class Exchange:
    """A request on its way to the camera."""

    client_cseq: str
    method: str
    uri: str
    request: Message
    track: Track | None = None
    asked_at: float = field(default_factory=time.monotonic)
    is_repeated: bool = False


class Relay(threading.Thread):
    """Carries one camera's RTSP connection; ends when either side does, on `stop`, or after too long a silence."""

    def __init__(self, opening: Opening, address: NetworkAddress, camera: socket.socket) -> None:
        super().__init__(name="rtsp-relay", daemon=True)
        self.silence = Silence()
        self.stop = opening.stop
        self._opening = opening
        self._address = address
        self._camera = camera
        self._camera_ip = camera.getpeername()[0]
        self._login = Login(opening.place.user, opening.place.password)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._client: socket.socket | None = None
        token = secrets.token_hex(8)
        self._own = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/{token}"
        self.url = f"{self._own}/0"
        self._uris = [address.url]  # what stands behind rtsp://127.0.0.1:port/token/<index>
        self._tracks: list[Track] = []
        self._pending: dict[str, Exchange] = {}
        self._cseq = 0
        self._session = ""
        self._fault: CameraError | None = None
        self._ending = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._signed_in = False
        self._has_answered = False
        self._login_worked = False

    @property
    def fault(self) -> CameraError | None:
        return self._fault

    # -- life -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._client = self._accept()
            if self._client is not None:
                self._carry(self._client)
        except ProtocolFault as error:
            log.info("the relay ends: %s", error)
            self._fail(
                StreamError(_("What answers there does not speak RTSP. Is this the camera's RTSP port (mostly 554)?"))
            )
        except CameraError as error:
            self._fail(error)
        except OSError as error:
            log.info("the relay ends: %s", type(error).__name__)
        except Exception:
            log.exception("the relay broke off")
        finally:
            self._say_goodbye()
            self._selector.close()
            sockets = [self._camera, self._listener, self._client]
            sockets += [each for track in self._tracks for each in track.sockets or ()]
            for each in sockets:
                if each is not None:
                    each.close()

    def close(self) -> None:
        self._ending.set()
        if self.is_alive():
            self.join(2.0)

    def _fail(self, fault: CameraError) -> None:
        self._fault = self._fault or fault

    def _accept(self) -> socket.socket | None:
        """FFmpeg's connection, and no other afterwards."""
        self._listener.settimeout(TICK_S)
        until = time.monotonic() + ANSWER_S
        while not self._over() and time.monotonic() < until:
            try:
                client, _peer = self._listener.accept()
            except TimeoutError:
                continue
            self._listener.close()
            client.settimeout(ANSWER_S)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return client
        return None

    def _over(self) -> bool:
        return self._ending.is_set() or self.stop.is_set()

    def _carry(self, client: socket.socket) -> None:
        readers = {client: Reader(), self._camera: Reader()}
        self._selector.register(client, selectors.EVENT_READ)
        self._selector.register(self._camera, selectors.EVENT_READ)
        while not self._over():
            for key, _events in self._selector.select(TICK_S):
                one = cast("socket.socket", key.fileobj)
                if one not in readers:
                    self._from_udp(one, client)
                    continue
                data = one.recv(CHUNK)
                if not data:
                    if one is not client and not self._has_answered:
                        raise ProtocolFault("it hung up")
                    return
                readers[one].feed(data)
                while (part := readers[one].next()) is not None:
                    if one is client:
                        self._from_ffmpeg(part, client)
                    else:
                        self._from_camera(part, client)
            now = time.monotonic()
            if any(now - exchange.asked_at > ANSWER_S for exchange in self._pending.values() if not self._playing):
                raise StreamError(_("The camera took the connection, but does not answer. Start it again."))
            if self._playing and self.silence.too_long:
                raise self.silence.fault()

    @property
    def _playing(self) -> bool:
        return bool(self._session and self._tracks)

    def _say_goodbye(self) -> None:
        """TEARDOWN, so that the camera has room for the next viewer; nobody waits for the answer."""
        if not self._session:
            return
        try:
            self._camera.settimeout(0.5)
            self._send_request("TEARDOWN", self._uris[0], [("session", self._session)])
        except OSError:
            log.debug("the camera was gone before its goodbye")

    # -- FFmpeg to camera -------------------------------------------------------------------------------------------

    def _from_ffmpeg(self, part: Message | tuple[int, bytes], client: socket.socket) -> None:
        if isinstance(part, tuple):
            self._report_to_camera(*part)
            return
        method, _space, rest = part.start.partition(" ")
        uri = self._uris[self._index(rest.rpartition(" ")[0])]
        if method == "TEARDOWN":
            self._ending.set()
            return
        headers = [(name, value) for name, value in part.headers if name in TO_CAMERA]
        track = None
        if method == "SETUP":
            track, transport = self._offer(part.get("transport"))
            headers.append(("transport", transport))
        exchange = Exchange(part.get("cseq"), method, uri, Message("", headers, part.body), track)
        self._ask(exchange)

    def _index(self, uri: str) -> int:
        tail = uri.removeprefix(self._own).strip("/")
        first = tail.split("/", 1)[0]
        return int(first) if first.isdecimal() and int(first) < len(self._uris) else 0

    def _offer(self, wanted: str) -> tuple[Track, str]:
        """What is offered to the camera where FFmpeg wants "RTP/AVP/TCP;unicast;interleaved=0-1"."""
        found = re.search(r"interleaved=(\d+)", wanted)
        channel = int(found[1]) if found else 2 * len(self._tracks)
        if self._opening.place.transport != "udp":
            return Track(channel), f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        pair = self._udp_pair()
        port = pair[0].getsockname()[1]
        return Track(channel, sockets=pair), f"RTP/AVP;unicast;client_port={port}-{port + 1}"

    def _udp_pair(self) -> tuple[socket.socket, socket.socket]:
        """Two neighbouring ports, the first even (RFC 3550, section 11), that hear this camera alone."""
        family = self._camera.family
        own = self._camera.getsockname()[0]
        for _attempt in range(50):
            first = socket.socket(family, socket.SOCK_DGRAM)
            first.bind((own, 0))
            port = first.getsockname()[1]
            second = socket.socket(family, socket.SOCK_DGRAM)
            try:
                if port % 2:
                    raise OSError
                second.bind((own, port + 1))
            except OSError:
                first.close()
                second.close()
                continue
            first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            return first, second
        raise StreamError(_("No free port for the camera's pictures. Choose TCP."))

    def _ask(self, exchange: Exchange) -> None:
        headers = exchange.request.headers
        if header := self._login.header(exchange.method, exchange.uri):
            headers = [*headers, ("authorization", header)]
        cseq = self._send_request(exchange.method, exchange.uri, headers, exchange.request.body)
        exchange.asked_at = time.monotonic()
        self._pending[cseq] = exchange
        while len(self._pending) > MOST_PENDING:  # a camera that never answers "are you there" is no fault
            del self._pending[next(iter(self._pending))]

    def _send_request(self, method: str, uri: str, headers: list[tuple[str, str]], body: bytes = b"") -> str:
        self._cseq += 1
        cseq = str(self._cseq)
        start = f"{method} {uri} RTSP/1.0"
        message = Message(start, [("cseq", cseq), ("user-agent", "mask-portal"), *headers], body)
        self._camera.sendall(message.encode())
        return cseq

    def _report_to_camera(self, channel: int, payload: bytes) -> None:
        """FFmpeg's receiver reports (RTCP)."""
        for track in self._tracks:
            offset = channel - track.client_channel
            if offset not in (0, 1):
                continue
            if track.sockets is None:
                self._camera.sendall(struct.pack(">cBH", b"$", track.camera_channel + offset, len(payload)) + payload)
            elif track.server_ports[offset]:
                track.sockets[offset].sendto(payload, (self._camera_ip, track.server_ports[offset]))

    # -- camera to FFmpeg -------------------------------------------------------------------------------------------

    def _from_camera(self, part: Message | tuple[int, bytes], client: socket.socket) -> None:
        if isinstance(part, tuple):
            channel, payload = part
            for track in self._tracks:
                if track.sockets is None and channel - track.camera_channel in (0, 1):
                    self._hand_on(client, track, channel - track.camera_channel, payload)
            return
        if not part.start.startswith("RTSP/1.0"):
            return  # a request of the camera's own, like ANNOUNCE or REDIRECT: not for us
        self._has_answered = True
        exchange = self._pending.pop(part.get("cseq"), None)
        if exchange is not None:
            self._answer(part, exchange, client)

    def _from_udp(self, one: socket.socket, client: socket.socket) -> None:
        payload, peer = one.recvfrom(UDP_PACKET)
        if peer[0] != self._camera_ip:
            return
        for track in self._tracks:
            if track.sockets is not None and one in track.sockets:
                self._hand_on(client, track, track.sockets.index(one), payload)

    def _hand_on(self, client: socket.socket, track: Track, offset: int, payload: bytes) -> None:
        if offset == 0:
            self.silence.heard()
        client.sendall(struct.pack(">cBH", b"$", track.client_channel + offset, len(payload)) + payload)

    def _answer(self, answer: Message, exchange: Exchange, client: socket.socket) -> None:
        status = answer.status
        if status == 401:
            self._sign_in(exchange, answer)
            return
        self._login_worked = self._login_worked or (self._login.is_used and 200 <= status < 300)
        if not 200 <= status < 300:
            if exchange.method in {"OPTIONS", "GET_PARAMETER"}:
                self._reply(
                    client, exchange, Message("RTSP/1.0 200 OK", [("public", "DESCRIBE, SETUP, PLAY, TEARDOWN")])
                )
                return
            raise fault_of(status, exchange.method)
        headers = [(name, value) for name, value in answer.headers if name in TO_FFMPEG]
        body = b""
        if session := answer.get("session"):
            self._session = session.partition(";")[0]
        if exchange.method == "DESCRIBE":
            self._note_signed_in()
            base = answer.get("content-base") or answer.get("content-location") or exchange.uri
            body = self._map_description(answer.body, base)
        elif exchange.method == "SETUP" and exchange.track is not None:
            headers.append(("transport", self._accept_track(exchange.track, answer.get("transport"))))
        elif exchange.method == "PLAY":
            self.silence.heard()
        self._reply(client, exchange, Message("RTSP/1.0 200 OK", headers, body))

    def _sign_in(self, exchange: Exchange, answer: Message) -> None:
        """Answer a challenge. Some cameras change their nonce without saying that the old one is stale."""
        if self._login_worked:
            if exchange.is_repeated:
                raise StreamError(_("The camera does not know our login any more. It is opened anew."))
            exchange.is_repeated = True
            self._login.forget()
        self._login.answer(exchange.method, exchange.uri, answer.all("www-authenticate"))
        self._ask(exchange)

    def _note_signed_in(self) -> None:
        if not self._signed_in:
            self._signed_in = True
            self._opening.reached("login")

    def _reply(self, client: socket.socket, exchange: Exchange, message: Message) -> None:
        message.headers.insert(0, ("cseq", exchange.client_cseq))
        client.sendall(message.encode())

    def _map_description(self, body: bytes, base: str) -> bytes:
        """The SDP (RFC 4566) for FFmpeg: every control address becomes one of ours, connection lines name nobody."""
        base = self._at_camera(base)
        self._uris[0] = base
        lines = []
        for line in body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
            if line.startswith("c="):
                line = "c=IN IP4 0.0.0.0"
            elif line.startswith("a=control:"):
                control = line.removeprefix("a=control:").strip()
                line = f"a=control:{self._own}/{self._number(base, control)}"
            lines.append(line)
        return "\r\n".join(lines).encode()

    def _number(self, base: str, control: str) -> int:
        """The index of what a control attribute names (RFC 2326, appendix C.1.1)."""
        if control in {"", "*"}:
            return 0
        if "://" in control:
            uri = self._at_camera(control)
        elif control.startswith("?") or "?" in base:
            uri = f"{base.rstrip('/')}/{control}" if not control.startswith(("/", "?")) else base + control
        else:
            uri = urljoin(base if base.endswith("/") else base + "/", control)
        self._uris.append(self._at_camera(uri))
        return len(self._uris) - 1

    def _at_camera(self, uri: str) -> str:
        """This URI at the camera that we are connected to, whichever host it names."""
        try:
            parts = urlsplit(uri)
        except ValueError:
            return self._address.url
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return f"rtsp://{self._address.authority}{target}"

    def _accept_track(self, track: Track, transport: str) -> str:
        """Note what the camera chose; what FFmpeg is told. A source or destination that it names is not used."""
        if track.sockets is None:
            found = re.search(r"interleaved=(\d+)", transport)
            track.camera_channel = int(found[1]) if found else track.client_channel
        else:
            found = re.search(r"server_port=(\d+)(?:-(\d+))?", transport)
            if found:
                track.server_ports = (int(found[1]), int(found[2] or int(found[1]) + 1))
            for each in track.sockets:
                self._selector.register(each, selectors.EVENT_READ)
        self._tracks.append(track)
        return f"RTP/AVP/TCP;unicast;interleaved={track.client_channel}-{track.client_channel + 1}"


def fault_of(status: int, method: str) -> StreamError:
    """What an answer other than 200 means, for people."""
    if (known := fault_of_status(status)) is not None:
        return known
    if status == 453 or status == 503:
        return StreamError(_("The camera has no room for another viewer. End another one, or use its substream."))
    if status == 461:
        return StreamError(_("The camera does not send in this way. Choose the other one, TCP or UDP."))
    return StreamError(
        _("The camera answers %(method)s with error %(status)d. Start it again, or try its other stream.")
        % {"method": method, "status": status}
    )


@register("rtsp")
def open_rtsp(opening: Opening) -> Stream:
    """Name, connection and login by ourselves, then FFmpeg, by the relay."""
    address = addresses.parse_address(opening.place.address, ("rtsp",))
    checked = addresses.resolve(address.host, address.port, opening.stop)
    opening.reached("name")
    camera = addresses.connect(checked, address.port, opening.stop)
    opening.reached("connection")
    relay = Relay(opening, address, camera)
    relay.start()
    options = {
        "rtsp_transport": "tcp",
        "allowed_media_types": "video",
        "protocol_whitelist": "tcp,rtp",
        "reorder_queue_size": "64" if opening.place.transport == "udp" else "0",
        "max_delay": "300000",
    }
    return Stream.open(relay, relay.url, "rtsp", options)
