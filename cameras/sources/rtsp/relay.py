"""The relay: a thread that carries one camera's RTSP connection to FFmpeg, on loopback."""

from __future__ import annotations

import logging
import secrets
import selectors
import socket
import threading
import time
from typing import cast

from django.utils.translation import gettext as _

from cameras.errors import CameraError, StreamError
from cameras.reach.addresses import TICK_S, NetworkAddress
from cameras.reach.login import Login
from cameras.sources.base import Opening
from cameras.sources.carrier import Watchdog
from cameras.sources.rtsp.conversation import ANSWER_S, Conversation, Exchange, fault_of
from cameras.sources.rtsp.media import Media
from cameras.sources.rtsp.messages import Message, Packet, ProtocolFault, Reader
from cameras.sources.rtsp.sdp import AddressTable

log = logging.getLogger(__name__)

CHUNK = 65_536
TO_CAMERA = ("accept", "session", "range", "scale", "content-type")
TO_FFMPEG = ("public", "session", "content-type", "range", "scale")
KEEPING_ALIVE = frozenset({"OPTIONS", "GET_PARAMETER"})


class Relay(threading.Thread):
    """Carries one camera's RTSP connection; ends when either side does, on `stop`, or after too long a silence."""

    def __init__(self, opening: Opening, address: NetworkAddress, camera: socket.socket) -> None:
        super().__init__(name="rtsp-relay", daemon=True)
        self.watchdog = Watchdog()
        self.stop = opening.stop
        self._opening = opening
        self._camera = camera
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        own = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/{secrets.token_hex(8)}"
        self.url = f"{own}/0"
        self._addresses = AddressTable(own, address)
        self._media = Media(camera, opening.place.transport)
        self._conversation = Conversation(camera, Login(opening.place.user, opening.place.password))
        self._fault: CameraError | None = None
        self._ending = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._is_described = False

    @property
    def fault(self) -> CameraError | None:
        return self._fault

    # -- life -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        client = None
        try:
            client = self._accept()
            if client is not None:
                self._carry(client)
        except ProtocolFault as error:
            log.info("the relay ends: %s", error)
            text = _("The answer from there is not RTSP. Is this the camera's RTSP port (usually 554)?")
            self._fail(StreamError(text))
        except CameraError as error:
            self._fail(error)
        except OSError as error:
            log.info("the relay ends: %s", type(error).__name__)
        except Exception:
            log.exception("the relay failed")
        finally:
            self._conversation.say_goodbye(self._addresses.whole)
            self._selector.close()
            self._media.close()
            for each in (self._camera, self._listener, client):
                if each is not None:
                    each.close()

    def close(self) -> None:
        self._ending.set()
        if self.is_alive():
            self.join(2.0)

    def _fail(self, fault: CameraError) -> None:
        self._fault = self._fault or fault

    def _accept(self) -> socket.socket | None:
        """Accept FFmpeg's connection, and no other afterwards."""
        self._listener.settimeout(TICK_S)
        until = time.monotonic() + ANSWER_S
        while not self._is_over() and time.monotonic() < until:
            try:
                client, _peer = self._listener.accept()
            except TimeoutError:
                continue
            self._listener.close()
            client.settimeout(ANSWER_S)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return client
        return None

    def _is_over(self) -> bool:
        return self._ending.is_set() or self.stop.is_set()

    def _carry(self, client: socket.socket) -> None:
        readers = {client: Reader(), self._camera: Reader()}
        for each in readers:
            self._selector.register(each, selectors.EVENT_READ)
        while not self._is_over():
            for key, _events in self._selector.select(TICK_S):
                one = cast("socket.socket", key.fileobj)
                if one not in readers:
                    self._hand_on(self._media.datagram_part(one), client)
                elif not self._read(one, readers[one], client):
                    return
            self._look_at_the_clock()

    def _read(self, one: socket.socket, reader: Reader, client: socket.socket) -> bool:
        """Read what is waiting there; False if that side hung up."""
        data = one.recv(CHUNK)
        if not data:
            if one is not client and not self._conversation.has_answered:
                raise ProtocolFault("it hung up")
            return False
        reader.feed(data)
        while (part := reader.next()) is not None:
            if one is client:
                self._from_ffmpeg(part)
            else:
                self._from_camera(part, client)
        return True

    def _look_at_the_clock(self) -> None:
        if self._is_playing:
            if self.watchdog.is_due:
                raise self.watchdog.fault()
        elif self._conversation.is_overdue:
            raise StreamError(_("The camera accepted the connection, but does not answer. Restart it."))

    @property
    def _is_playing(self) -> bool:
        return bool(self._conversation.session and len(self._media))

    # -- FFmpeg to camera -------------------------------------------------------------------------------------------

    def _from_ffmpeg(self, part: Message | Packet) -> None:
        if isinstance(part, tuple):
            self._media.report(part)
            return
        method, _space, rest = part.start.partition(" ")
        if method == "TEARDOWN":
            self._ending.set()
            return
        headers = [(name, value) for name, value in part.headers if name in TO_CAMERA]
        medium = None
        if method == "SETUP":
            medium, transport = self._media.offer(part.get("transport"))
            headers.append(("transport", transport))
        uri = self._addresses.behind(rest.rpartition(" ")[0])
        self._conversation.ask(Exchange(part.get("cseq"), method, uri, Message("", headers, part.body), medium))

    # -- camera to FFmpeg -------------------------------------------------------------------------------------------

    def _from_camera(self, part: Message | Packet, client: socket.socket) -> None:
        if isinstance(part, tuple):
            self._hand_on(self._media.interleaved_part(part), client)
        elif part.start.startswith("RTSP/1.0"):  # else a request of the camera's own, like ANNOUNCE: not for us
            exchange = self._conversation.answered(part)
            if exchange is not None:
                self._answer(part, exchange, client)

    def _hand_on(self, part: tuple[bytes, bool] | None, client: socket.socket) -> None:
        if part is None:
            return
        packet, has_picture = part
        if has_picture:
            self.watchdog.heard()
        client.sendall(packet)

    def _answer(self, answer: Message, exchange: Exchange, client: socket.socket) -> None:
        if not 200 <= answer.status < 300:
            if exchange.method not in KEEPING_ALIVE:
                raise fault_of(answer.status, exchange.method)
            public = [("public", "DESCRIBE, SETUP, PLAY, TEARDOWN")]
            reply(client, exchange, Message("RTSP/1.0 200 OK", public))
            return
        headers = [(name, value) for name, value in answer.headers if name in TO_FFMPEG]
        body = b""
        if exchange.method == "DESCRIBE":
            body = self._describe(answer, exchange)
        elif exchange.method == "SETUP" and exchange.medium is not None:
            self._media.accept(exchange.medium, answer.get("transport"))
            for each in exchange.medium.sockets or ():
                self._selector.register(each, selectors.EVENT_READ)
            headers.append(("transport", exchange.medium.client_transport))
        elif exchange.method == "PLAY":
            self.watchdog.heard()
        reply(client, exchange, Message("RTSP/1.0 200 OK", headers, body))

    def _describe(self, answer: Message, exchange: Exchange) -> bytes:
        if not self._is_described:  # the camera lets us in
            self._is_described = True
            self._opening.reached("login")
        base = answer.get("content-base") or answer.get("content-location") or exchange.uri
        return self._addresses.map_description(answer.body, base)


def reply(client: socket.socket, exchange: Exchange, message: Message) -> None:
    message.headers.insert(0, ("cseq", exchange.client_cseq))
    client.sendall(message.encode())
