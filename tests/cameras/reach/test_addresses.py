"""Which addresses may be opened, and that no others are: the second listener counts 0 connections, 0 datagrams."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.errors import AddressError, CameraError, StreamError
from cameras.reach import addresses
from cameras.reach.addresses import authority_of, judge, mask_login, parse_address, split_login
from cameras.reach.place import Place
from cameras.setup.makes import makes
from cameras.sources import Opening, open_source
from tests.cameras.footage import lobby
from tests.cameras.http_camera import HttpCamera, file_as, http_camera, redirect
from tests.cameras.rtsp_server import RtspCamera

NEVER = threading.Event()


@pytest.fixture
def loopback(settings: Any) -> None:
    settings.CAMERA_NETWORKS = ["127.0.0.0/8"]


class SecondListener:
    """Another machine, as far as the tests are concerned: 127.0.0.2. Anything that reaches it is counted."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.2", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.2", self.port))
        for each in (self.tcp, self.udp):
            each.setblocking(False)

    def count(self) -> int:
        """Connections and datagrams so far."""
        found = 0
        for take in (lambda: self.tcp.accept(), lambda: self.udp.recvfrom(2000)):
            while True:
                try:
                    take()
                except BlockingIOError:
                    break
                found += 1
        return found


@pytest.fixture
def second() -> Iterator[SecondListener]:
    listener = SecondListener()
    yield listener
    listener.tcp.close()
    listener.udp.close()


# -- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "Enter the camera's address"),
        ("rtsp://10.0.0.5/a b", "There is a space"),
        ("rtsp://10.0.0.5/a\nb", "There is a space"),
        ("10.0.0.5/stream1", "must begin with rtsp://"),
        ("file:///etc/passwd", "must begin with rtsp://"),
        ("concat:a.mp4|b.mp4", "must begin with rtsp://"),
        ("subfile,,start,0,end,9,,:/etc/passwd", "must begin with rtsp://"),
        ("http://10.0.0.5/", "must begin with rtsp://"),
        ("rtsp://10.0.0.5:99999/", "host or port"),
        ("rtsp://[::1/", "host or port"),
        ("rtsp:///stream1", "names no host"),
        ("rtsp://10.0.0.5:0/", "names no host"),
        ("rtsp://user:pass@10.0.0.5/", "have their own fields"),
        ("rtsp://10.0.0.5/" + "x" * 600, "too long"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(address: str, says: str) -> None:
    with pytest.raises(AddressError, match=says):
        parse_address(address, ("rtsp",))


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_sentence(text: str) -> None:
    for candidate in (text, f"rtsp://{text}", f"http://{text}/x"):
        try:
            found = parse_address(candidate, ("rtsp", "http"))
        except AddressError as error:
            assert str(error).endswith(".")
        else:
            assert found.host and 1 <= found.port <= 65535 and found.target.startswith("/")


@pytest.mark.parametrize(
    ("pasted", "parts"),
    [
        ("rtsp://admin:p%40ss@10.0.0.5/live", ("rtsp://10.0.0.5/live", "admin", "p@ss")),
        ("rtsp://admin:p@ss/w@10.0.0.5:554/live?x=1", ("rtsp://10.0.0.5:554/live?x=1", "admin", "p@ss/w")),
        ("rtsp://admin@10.0.0.5/", ("rtsp://10.0.0.5/", "admin", "")),
        ("rtsp://admin:p#s?@10.0.0.5/live", ("rtsp://10.0.0.5/live", "admin", "p#s?")),
        ("rtsp://admin:pw@door/live", ("rtsp://door/live", "admin", "pw")),
        (
            "rtsp://10.0.0.5:554/user=admin&password=p@ss&channel=1",
            ("rtsp://10.0.0.5:554/user=admin&password=p@ss&channel=1", "", ""),
        ),
        ("rtsp://10.0.0.5/user@home", ("rtsp://10.0.0.5/user@home", "", "")),
        ("rtsp://10.0.0.5:554/stream1", ("rtsp://10.0.0.5:554/stream1", "", "")),
        ("http://[fe80::1]/x", ("http://[fe80::1]/x", "", "")),
        (" rtsp://a:b@[2001:db8::1]:554/x ", ("rtsp://[2001:db8::1]:554/x", "a", "b")),
    ],
)
def test_a_login_in_a_pasted_address_is_taken_out(pasted: str, parts: tuple[str, str, str]) -> None:
    assert split_login(pasted) == parts
    assert "p@ss" not in mask_login(pasted) and "p%40ss" not in mask_login(pasted)


hosts = st.sampled_from(["10.0.0.5", "camera.lan", "[2001:db8::1]", "door:554", "10.0.0.5:8554"])
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)


@given(hosts, words)
def test_host_port_and_path_survive_whatever_is_behind_them(host: str, path: str) -> None:
    for typed in (f"rtsp://{host}/{path}", f"rtsp://{host}?{path}"):
        assert split_login(typed) == (typed, "", "")
        if host != "camera.lan":
            assert split_login(typed.replace("//", "//u:p%40@", 1)) == (typed, "u", "p@")


@given(hosts, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12))
def test_no_piece_of_a_password_becomes_a_hosts_name(host: str, password: str) -> None:
    """Escaped it is taken as it is; unescaped too, or it is asked for in its own field."""
    assert split_login(f"rtsp://u:{quote(password, safe='')}@{host}/x") == (f"rtsp://{host}/x", "u", password)
    try:
        address, user, _ = split_login(f"rtsp://u:{password}@{host}/x")
    except AddressError as error:
        assert "own fields" in str(error)
        return
    if user:
        assert address == f"rtsp://{host}/x"
    else:  # what is before the first slash reads as host and port, or as nothing that is opened
        assert address == f"rtsp://u:{password}@{host}/x"
        with suppress(AddressError):
            assert parse_address(address, ("rtsp",)).host == "u"


@given(st.sampled_from(list(makes())), hosts, st.sampled_from(["main", "sub"]))
def test_a_make_and_a_host_come_out_as_they_were_meant(key: str, host: str, stream: str) -> None:
    make = makes()[key]
    address = make.address(host, stream)
    parsed = parse_address(address, (make.kind,))
    name, _, port = host.rpartition(":") if host[-1] != "]" and ":" in host else (host, "", "")
    assert parsed.host == name.strip("[]") and (not port or parsed.port == int(port))
    assert split_login(address) == (address, "", "")


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("rtsps://192.168.1.1:7441/AbCd?enableSrtp", "rtsp://192.168.1.1:7447/AbCd instead"),
        ("rtsps://camera.lan/live", "rtsp://camera.lan/live instead"),
        ("rtsps://[::1", "instead"),
    ],
)
def test_an_encrypted_address_is_told_how_it_must_read(typed: str, instead: str) -> None:
    with pytest.raises(AddressError, match=re.escape(instead)):
        parse_address(typed, ("rtsp",))


@pytest.mark.parametrize("password", ["p@ss.word/x", "a@b/c", "p@s/w@r/d"])
def test_where_a_password_reads_as_a_host_it_is_asked_for_in_its_own_field(password: str) -> None:
    with pytest.raises(AddressError, match="own fields"):
        split_login(f"rtsp://u:{password}@camera.lan/x")


# -- judging --------------------------------------------------------------------------------------------------------

REFUSED = ["127.0.0.1", "127.8.8.8", "0.0.0.0", "::1", "::", "169.254.1.1", "169.254.169.254", "fe80::1",  # noqa: S104
           "100.100.100.200", "224.0.0.1", "255.255.255.255", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
           "fd00:ec2::254", "::127.0.0.1",
           "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "240.0.0.1", "ff02::1"]  # fmt: skip
ALLOWED = ["10.0.0.5", "172.16.3.4", "192.168.1.20", "fd12:3456::7", "203.0.113.9", "100.64.0.9", "2001:4860::1"]


@pytest.mark.parametrize("address", REFUSED)
def test_loopback_link_local_and_metadata_are_refused_in_every_spelling(address: str) -> None:
    assert judge(ipaddress.ip_address(address), 554).endswith(".")


@pytest.mark.parametrize("address", ALLOWED)
def test_private_networks_are_where_cameras_live(address: str) -> None:
    assert judge(ipaddress.ip_address(address), 554) == ""


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "localhost", "017700000001"])
def test_other_spellings_of_loopback_are_refused_after_they_are_looked_up(host: str) -> None:
    with pytest.raises(AddressError, match="portal's own machine"):
        addresses.resolve(host, 554, NEVER)


def test_the_portals_own_services_are_refused(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = "redis://10.0.0.9:6379/0"
    assert "service of the portal" in judge(ipaddress.ip_address("10.0.0.9"), 6379)
    assert judge(ipaddress.ip_address("10.0.0.9"), 554) == ""


def test_every_address_of_this_machine_is_refused_whatever_the_port(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What listens here trusts those who are here: a router's page, a database, another site's recorder."""
    monkeypatch.setattr(addresses, "is_this_machine", lambda ip: str(ip) == "192.168.1.2")
    for port in (settings.PORT, 554, 80):
        assert "the portal's own machine" in judge(ipaddress.ip_address("192.168.1.2"), port)
    assert judge(ipaddress.ip_address("192.168.1.3"), 554) == ""
    settings.CAMERA_NETWORKS = ["192.168.1.2/32"]
    assert judge(ipaddress.ip_address("192.168.1.2"), 554) == "", "the operator may allow it"


@pytest.mark.parametrize("address", ["192.0.0.192", "168.63.129.16", "fec0::1", "feff:ffff::1", "::ffff:168.63.129.16"])
def test_services_of_clouds_are_refused_like_link_local_ones(address: str) -> None:
    assert "a cloud's own" in judge(ipaddress.ip_address(address), 80)


def test_the_operator_can_allow_a_network(loopback: None) -> None:
    assert judge(ipaddress.ip_address("127.0.0.1"), 554) == ""
    assert judge(ipaddress.ip_address("::1"), 554) != ""


def test_a_name_that_changes_after_the_check_is_of_no_use(
    loopback: None, second: SecondListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS would answer differently the second time, but it is asked only once."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]])
    real = socket.getaddrinfo

    def fickle(host: Any, *rest: Any, **more: Any) -> Any:
        return real(next(answers)[0] if host == "camera.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", fickle)
    with pytest.raises(StreamError, match="nothing listens"):
        open_source(Opening(Place("rtsp", f"rtsp://camera.example:{second.port}/")))
    assert second.count() == 0


def test_a_silent_resolver_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "RESOLVE_S", 0.4)
    blocked = threading.Event()
    monkeypatch.setattr(addresses, "_look_up", lambda host: blocked.wait(20) and [])
    with pytest.raises(StreamError, match="could not be looked up in time"):
        addresses.resolve("slow.example", 554, NEVER)
    blocked.set()


def test_an_answer_that_comes_late_is_used_by_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a resolver that takes longer than anybody waits, a camera would else never be found."""
    monkeypatch.setattr(addresses, "RESOLVE_S", 0.2)
    answers, asked = threading.Event(), []

    def look_up(host: str) -> list[addresses.IpAddress]:
        asked.append(host)
        answers.wait(20)
        return [ipaddress.ip_address("192.0.2.7")]

    monkeypatch.setattr(addresses, "_look_up", look_up)
    for _try in range(3):
        with pytest.raises(StreamError, match="could not be looked up in time"):
            addresses.resolve("late.example", 554, NEVER)
    answers.set()
    monkeypatch.setattr(addresses, "_look_up", lambda host: threading.Event().wait(20) and [])
    monkeypatch.setattr(addresses, "RESOLVE_S", 5.0)
    assert addresses.resolve("late.example", 554, NEVER) == [ipaddress.ip_address("192.0.2.7")]


def test_a_name_that_hangs_holds_so_many_threads_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "RESOLVE_S", 0.05)
    blocked, asked = threading.Event(), []

    def hang(host: str) -> list[addresses.IpAddress]:
        asked.append(host)
        blocked.wait(20)
        return []

    monkeypatch.setattr(addresses, "_look_up", hang)
    for _try in range(2 * addresses.MOST_QUESTIONS):
        with pytest.raises(StreamError, match="could not be looked up in time"):
            addresses.resolve("hangs.example", 554, NEVER)
    assert len(asked) == addresses.MOST_QUESTIONS
    blocked.set()


# -- opening --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1/", "http://127.0.0.1/", "https://[::1]/"])
def test_what_is_refused_is_not_connected_to(address: str) -> None:
    with pytest.raises(AddressError):
        open_source(Opening(Place(address.split(":")[0].rstrip("s"), address)))


def test_rtsp_that_redirects_is_not_followed(loopback: None, second: SecondListener, tmp_path: Path) -> None:
    clip, to = lobby(tmp_path / "a.mp4", seconds=1), f"rtsp://127.0.0.2:{second.port}/"
    with RtspCamera(clip, redirect_to=to) as camera, pytest.raises(StreamError, match="redirects to"):
        open_source(Opening(Place("rtsp", camera.address)))
    assert second.count() == 0


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_foreign_source_in_transport_gets_nothing(
    loopback: None, second: SecondListener, tmp_path: Path, transport: str
) -> None:
    clip = lobby(tmp_path / "a.mp4", seconds=3)
    with RtspCamera(clip, foreign_source=f"127.0.0.2;server_port={second.port}-{second.port + 1}") as camera:
        stop = threading.Event()
        source = open_source(Opening(Place("rtsp", camera.address, transport=transport), stop))
        frames = source.frames(stop)
        for _ in range(12):
            next(frames)
        source.close()
    assert second.count() == 0


def test_http_that_redirects_to_loopback_is_not_followed(loopback: None, second: SecondListener) -> None:
    answer = redirect(f"http://127.0.0.2:{second.port}/")
    with http_camera(HttpCamera(answer)) as camera, pytest.raises(StreamError, match="redirects to"):
        open_source(Opening(Place("http", camera.address)))
    assert second.count() == 0


@pytest.mark.parametrize(
    "told", ["application/vnd.apple.mpegurl", "video/mp2t", "video/mp4", "", "multipart/x-mixed-replace"]
)
def test_a_playlist_that_names_another_host_is_refused_whatever_it_calls_itself(
    loopback: None, second: SecondListener, told: str
) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.2:{second.port}/a.ts\n".encode()
    with http_camera(HttpCamera(file_as(playlist, told))) as camera, pytest.raises(CameraError, match="playlist"):
        open_source(Opening(Place("http", camera.address)))
    assert second.count() == 0


def test_files_are_never_opened_by_a_network_kind(tmp_path: Path) -> None:
    for kind in ("rtsp", "http"):
        for address in (
            "file:///etc/passwd",
            "concat:/etc/passwd|x",
            "subfile,,start,0,end,9,,:/etc/passwd",
            "/etc/passwd",
        ):
            with pytest.raises(AddressError, match="must begin with"):
                open_source(Opening(Place(kind, address)))


@pytest.mark.parametrize("address", ["/dev/video", "/dev/sda", "video0", "/dev/video0/../sda", "/dev/video0 ", "0"])
def test_a_usb_camera_is_a_video_device_and_nothing_else(address: str) -> None:
    with pytest.raises(AddressError, match="/dev/video0"):
        open_source(Opening(Place("usb", address)))


def test_a_usb_camera_that_is_not_there_says_so() -> None:
    with pytest.raises(StreamError, match="No camera answers at /dev/video97"):
        open_source(Opening(Place("usb", "/dev/video97")))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("rtsp://h/1", "rtsp://H:554/2?x", True),
        ("http://h:80", "http://h/", True),
        ("http://h:8080/", "http://h/", False),
        ("https://h:80/", "https://h/", False),
        ("http://[::80]/", "http://[::80]:80/x", True),
        ("http://h/", "https://h/", False),
    ],
)
def test_an_authority_is_the_same_however_it_is_written(one: str, other: str, same: bool) -> None:
    assert (authority_of(one) == authority_of(other)) is same
