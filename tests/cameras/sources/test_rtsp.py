"""RTSP as cameras speak it: numbered wrongly, with stray bytes, with addresses that are joined in another way."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cameras.errors import CameraError, LoginError, StreamError
from cameras.reach.addresses import parse_address
from cameras.reach.login import Login
from cameras.reach.place import Place
from cameras.sources import Opening, open_source
from cameras.sources.rtsp.conversation import Conversation, Exchange
from cameras.sources.rtsp.messages import MOST_STRAY_BYTES, Message, Packet, ProtocolFault, Reader, interleaved
from cameras.sources.rtsp.sdp import AddressTable

OWN = "rtsp://127.0.0.1:1/token"
CAMERA = parse_address("rtsp://192.168.1.20:8554/live", ("rtsp",))
ANSWER = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\nv=0\n"
PICTURE = interleaved(0, b"\x80" + bytes(11) + b"picture")


def read(data: bytes, step: int = 1 << 20) -> list[Message | Packet]:
    reader, found = Reader(), []
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        while (part := reader.next()) is not None:
            found.append(part)
    return found


# -- messages and packets ---------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40), max_size=12), st.booleans())
def test_any_bytes_from_a_camera_are_cut_or_refused(pieces: list[bytes], after_an_answer: bool) -> None:
    reader = Reader()
    try:
        for piece in [ANSWER, *pieces] if after_an_answer else pieces:
            reader.feed(piece)
            while reader.next() is not None:
                pass
    except ProtocolFault as fault:
        assert str(fault)


@given(st.lists(st.sampled_from([ANSWER, PICTURE, ANSWER.replace(b"\r", b""), b"\r\n" + PICTURE]), max_size=8))
def test_messages_and_packets_are_cut_alike_however_they_arrive(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert len(read(whole, 1)) == len(parts) and read(whole, 1) == read(whole, 7) == read(whole)


@given(st.lists(st.binary(max_size=200).filter(lambda stray: b"$" not in stray and b"RTSP/" not in stray), max_size=6))
def test_stray_bytes_cost_nothing_but_themselves(strays: list[bytes]) -> None:
    data = ANSWER + PICTURE + b"".join(stray + PICTURE + ANSWER for stray in strays) + b"$"
    found = read(data)
    assert len([part for part in found if isinstance(part, Message)]) == 1 + len(strays)
    assert len([part for part in found if isinstance(part, tuple)]) == 1 + len(strays)


def test_stray_bytes_that_look_like_a_packet_are_not_taken_for_one() -> None:
    assert len(read(ANSWER + PICTURE + bytes(range(200)) + 3 * PICTURE)) == 5
    vendors = interleaved(0, b"no RTP")
    assert len(read(ANSWER + vendors + PICTURE)) == 3, "what a maker puts between packets is left alone"


def test_something_else_altogether_is_refused() -> None:
    with pytest.raises(ProtocolFault, match="does not speak"):
        read(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ProtocolFault, match="not RTSP"):
        read(ANSWER + bytes(MOST_STRAY_BYTES + 10))
    with pytest.raises(ProtocolFault, match="headers"):
        read(b"RTSP/1.0 200 OK\r\n" + 40 * (b"X-More: " + b"a" * 1000 + b"\r\n"), 1000)
    with pytest.raises(ProtocolFault, match="too long"):
        read(b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n")


# -- addresses --------------------------------------------------------------------------------------------------------

SDP = "v=0\nm=audio 0 RTP/AVP 8\na=control:track0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:{}\n"
LIVE = "rtsp://192.168.1.20:8554/live"


def described(control: str, base: str = f"{LIVE}/") -> list[str]:
    """The addresses behind the video's control attribute."""
    table = AddressTable(OWN, CAMERA)
    text = table.map_description(SDP.format(control).encode(), base, LIVE).decode()
    found = re.findall(r"a=control:(\S+)", text)[1]
    assert found.startswith(OWN) and table.rate(found) == 90_000
    return table.behind(found)


@pytest.mark.parametrize(
    ("control", "base", "wanted"),
    [
        ("track1", f"{LIVE}/", f"{LIVE}/track1"),
        ("track1", LIVE, f"{LIVE}/track1"),
        ("track1", "", f"{LIVE}/track1"),
        ("track1", "rtsp://rtsp://192.168.1.20:8554/live/", f"{LIVE}/track1"),
        ("track1", "192.168.1.20:8554/live/", f"{LIVE}/track1"),
        ("track1", "camera.local/live/", f"{LIVE}/track1"),
        ("track1", "/live/", f"{LIVE}/track1"),
        ("track1", ' "rtsp://10.0.0.1/live/" ', f"{LIVE}/track1"),
        ("track1", "<rtsp://10.0.0.1/live>", f"{LIVE}/track1"),
        ("/track1", f"{LIVE}/", f"{LIVE}/track1"),
        ("rtsp://10.9.9.9/live/track1", f"{LIVE}/", f"{LIVE}/track1"),
        ("trackID=1", f"{LIVE}?channel=1", f"{LIVE}?channel=1/trackID=1"),
        ("?track=1", LIVE, f"{LIVE}?track=1"),
    ],
)
def test_the_likeliest_address_of_a_track_comes_first(control: str, base: str, wanted: str) -> None:
    assert described(control, base)[0] == wanted


@pytest.mark.parametrize(
    ("control", "base", "also"),
    [
        ("/track1", f"{LIVE}/", "rtsp://192.168.1.20:8554/track1"),
        ("/track1", f"{LIVE}/", f"{LIVE}//track1"),
        ("track1", LIVE, "rtsp://192.168.1.20:8554/track1"),
        ("track1", "rtsp://10.0.0.1/", f"{LIVE}/track1"),
        ("track1", "nonsense", f"{LIVE}/track1"),
    ],
)
def test_other_ways_of_joining_are_tried_after_it(control: str, base: str, also: str) -> None:
    assert also in described(control, base)


texts = st.text(max_size=60)


lines_ = st.tuples(st.sampled_from(["a=control:", "a=rtpmap:96 ", "m=", ""]), texts).map("".join)


@given(st.lists(lines_, max_size=10), texts, texts)
def test_no_description_leads_anywhere_but_to_the_camera(lines: list[str], base: str, asked: str) -> None:
    table = AddressTable(OWN, CAMERA)
    text = table.map_description("\r\n".join(lines).encode(), base, asked).decode()
    for line in re.split(r"[\r\n]+", text):
        if line.startswith("a=control:"):
            uris = table.behind(line.removeprefix("a=control:"))
            assert line.startswith(f"a=control:{OWN}/") and uris
            assert all(re.match(r"rtsp://192\.168\.1\.20:8554([/?]\S*)?\Z", uri) for uri in uris), uris


# -- one conversation -------------------------------------------------------------------------------------------------


class Wire:
    """What a conversation writes to."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def sendall(self, data: bytes) -> None:
        self.sent.append(data.decode())


class Talk:
    """A conversation with a camera whose answers the test gives."""

    def __init__(self, user: str = "") -> None:
        self.wire = Wire()
        self.conversation = Conversation(cast("socket.socket", self.wire), Login(user, "pw"))

    @property
    def sent(self) -> list[str]:
        return self.wire.sent

    def ask(self, method: str, *uris: str) -> None:
        self.conversation.ask(Exchange("1", method, list(uris) or [LIVE], Message("", [])))

    def answer(self, status: int = 200, **headers: str) -> Exchange | None:
        given_ = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return self.conversation.answered(Message(f"RTSP/1.0 {status} X", given_))


@pytest.mark.parametrize("number", ["1", "0", "", "7", "one"])
def test_an_answer_belongs_to_the_open_request_whatever_its_number(number: str) -> None:
    talk = Talk()
    talk.ask("OPTIONS")
    talk.ask("DESCRIBE")
    assert len(talk.sent) == 1, "one request is open at a time"
    first = talk.answer(cseq=number)
    assert first is not None and first.method == "OPTIONS"
    second = talk.answer(cseq=number)
    assert second is not None and second.method == "DESCRIBE" and len(talk.sent) == 2
    assert talk.answer(cseq="3") is None, "and nothing else was asked"


def test_a_question_that_is_never_answered_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    talk, now = Talk(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    talk.ask("GET_PARAMETER")
    talk.ask("GET_PARAMETER")
    now[0] += 9
    assert talk.conversation.is_overdue
    talk.conversation.abandon_overdue()
    assert len(talk.sent) == 2 and not talk.conversation.is_overdue
    assert talk.answer(cseq="1") is None, "it comes too late"
    assert talk.answer(cseq="2") is not None


def test_on_404_the_other_ways_of_joining_are_tried() -> None:
    talk = Talk()
    talk.ask("SETUP", f"{LIVE}/track1", f"{LIVE}//track1", "rtsp://192.168.1.20:8554/track1")
    assert talk.answer(404) is None and talk.answer(404) is None
    last = talk.answer(404)
    assert last is not None, "then it is a fault"
    assert [request.split(" ")[1] for request in talk.sent][1] == f"{LIVE}//track1" and len(talk.sent) == 3


def test_a_camera_that_hangs_up_when_it_asks_for_a_login_is_asked_once_more() -> None:
    talk = Talk("admin")
    talk.ask("DESCRIBE")
    talk.answer(401, www_authenticate='Digest realm="cam", nonce="1"')
    assert talk.conversation.is_asked_to_sign_in
    other = Wire()
    talk.conversation.move(cast("socket.socket", other))
    assert "Authorization: Digest" in other.sent[0] and not talk.conversation.is_asked_to_sign_in


answers = st.tuples(st.sampled_from([200, 401, 401, 401, 404, 500]),
                    st.sampled_from(["1", "2", "3", "4"]), st.booleans())  # fmt: skip


@given(st.lists(answers, max_size=30))
def test_no_sequence_of_answers_leads_to_a_third_login(given_: list[tuple[int, str, bool]]) -> None:
    """A login is a request that answers a challenge: with a nonce or a scheme that no request had before."""
    talk = Talk("admin")
    with contextlib.suppress(StreamError, LoginError):
        for status, nonce, is_stale in given_:
            talk.ask("OPTIONS")
            stale = ", stale=true" if is_stale else ""
            talk.answer(status, www_authenticate=f'Digest realm="cam", nonce="{nonce}"{stale}')
    after_a_challenge = [status for status, _, _ in given_ if status == 401]
    logins = [request for request in talk.sent if "nc=" not in request and "Authorization" in request]
    challenged = set(re.findall(r'nonce="(\d)"', "".join(logins)))
    assert len(challenged) <= 2 and (not logins or after_a_challenge)


def test_a_login_that_was_good_and_is_asked_for_a_third_time_opens_the_stream_again() -> None:
    talk = Talk("admin")
    for nonce in ("1", "2"):
        talk.ask("OPTIONS")
        talk.answer(401, www_authenticate=f'Digest realm="cam", nonce="{nonce}"')
        assert talk.answer(200) is not None
    talk.ask("OPTIONS")
    with pytest.raises(StreamError, match="being reopened"):
        talk.answer(401, www_authenticate='Digest realm="cam", nonce="3"')


@pytest.mark.parametrize("worked", [True, False])
def test_a_login_that_is_refused_is_a_refusal(worked: bool) -> None:
    talk = Talk("admin")
    talk.ask("OPTIONS")
    talk.answer(401, www_authenticate='Digest realm="cam", nonce="1"')
    if worked:
        talk.answer(200)
        talk.ask("PLAY")
        talk.answer(401, www_authenticate='Digest realm="cam", nonce="2"')
    with pytest.raises(LoginError, match="does not accept"):
        talk.answer(401, www_authenticate='Digest realm="cam", nonce="2", stale=true' if worked else 'Basic realm="x"')
        talk.answer(401, www_authenticate='Digest realm="cam", nonce="4"')


# -- the whole relay --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def camera_that_says(answers: Callable[[str], tuple[list[tuple[str, str]], str]]) -> Iterator[str]:
    """A camera's address; `answers` gives headers and body for a method. It plays nothing, and then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError, UnicodeError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError, UnicodeError, ValueError):
                file = connection.makefile("rb")
                while line := file.readline():
                    method = line.decode().split(" ")[0]
                    while file.readline().strip():
                        pass
                    headers, body = answers(method)
                    data = body.encode("utf-8", "surrogateescape")
                    lines = ["RTSP/1.0 200 OK", *(f"{name}: {value}" for name, value in headers)]
                    head = "\r\n".join([*lines, f"Content-Length: {len(data)}"]) + "\r\n\r\n"
                    connection.sendall(head.encode("utf-8", "surrogateescape") + data)
                    if method == "PLAY":
                        return

        threading.Thread(target=serve, daemon=True).start()
        yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"


odd = st.one_of(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40),
                st.sampled_from(["", "0", "65536", "-1", "99999999999", "interleaved=0-1", "interleaved=300-301",
                                 "server_port=0-70000", "timeout=0", "a;timeout=99999999999"]))  # fmt: skip


@pytest.mark.stream
@given(transport=odd, session=odd, info=odd, control=odd, rtpmap=odd, media=odd, udp=st.booleans())
@settings(max_examples=30)
def test_whatever_a_camera_answers_opening_it_ends_in_words(
    transport: str, session: str, info: str, control: str, rtpmap: str, media: str, udp: bool
) -> None:
    lines = ["v=0", f"m=video 0 RTP/AVP 96 {media}", f"a=rtpmap:96 {rtpmap}", "a=rtpmap:96 H264/90000",
             f"a=control:{control}", ""]  # fmt: skip
    sdp = "\r\n".join(lines)

    def answers(method: str) -> tuple[list[tuple[str, str]], str]:
        if method == "DESCRIBE":
            return [("Content-Type", "application/sdp"), ("Content-Base", info)], sdp
        return [("Transport", f"RTP/AVP;{transport}"), ("Session", session), ("RTP-Info", info)], ""

    with camera_that_says(answers) as address:
        began = time.monotonic()
        with pytest.raises(CameraError) as fault:
            source = open_source(Opening(Place("rtsp", address, transport="udp" if udp else "auto")))
            try:
                next(source.frames(threading.Event()))
            finally:
                source.close()
        assert str(fault.value) and time.monotonic() - began < 12


def test_a_port_pair_is_neighbours_and_its_first_is_even() -> None:
    from cameras.sources.rtsp.media import port_pair

    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as camera:
        one, other = port_pair(camera)
        assert one.getsockname()[1] % 2 == 0 and other.getsockname()[1] == one.getsockname()[1] + 1
        one.close()
        other.close()
