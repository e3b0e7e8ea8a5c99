"""Loudspeakers on the network and on the worker's machine: real HTTP, a real process, the real worker's queue."""

from __future__ import annotations

import json
import stat
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from cameras.reach.credentials import seal
from portal.models import Reminder, Silence, Voice
from portal.voice import base, call, outputs, phrases, reminding, speech
from tests.worlds import World, see

pytestmark = pytest.mark.django_db(transaction=True)

CHALLENGE = 'Digest realm="speaker", nonce="b7a1", qop="auth", algorithm=MD5'


@dataclass
class Asked:
    """One request as the loudspeaker saw it."""

    method: str
    path: str
    content_type: str
    body: bytes
    took_s: float
    authorization: str


@dataclass
class Loudspeaker:
    """A loudspeaker on the network, which may require a login."""

    port: int = 0
    wants_login: bool = False
    status: int = 200
    refuses_empty: bool = False
    broken: str = ""  # paths that end with this are answered with 503
    asked: list[Asked] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def loudspeaker(**how: Any) -> Iterator[Loudspeaker]:
    speaker = Loudspeaker(**how)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            began = time.monotonic()
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            authorization = self.headers.get("Authorization", "")
            content_type = self.headers.get("Content-Type", "")
            took_s = time.monotonic() - began
            speaker.asked.append(Asked(self.command, self.path, content_type, body, took_s, authorization))
            refused = speaker.wants_login and 'username="admin"' not in authorization
            broken = speaker.broken and self.path.endswith(speaker.broken)
            empty = speaker.refuses_empty and not body
            self.send_response(401 if refused else 503 if broken else 411 if empty else speaker.status)
            if refused:
                self.send_header("WWW-Authenticate", CHALLENGE)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = answer

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    speaker.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield speaker
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _here(settings: Any, tmp_path: Path) -> None:
    settings.CAMERA_NETWORKS = ["127.0.0.0/8"]
    settings.DATA_DIR = tmp_path


def remind(world: World, **voice: Any) -> Reminder:
    """A reminder at the front door, carried out here; returns how it went."""
    made = Voice.objects.create(camera=world.door, output="call", **voice)
    reminder = Reminder.objects.create(
        site=world.here, camera=world.door, step=Reminder.Step.FIRST, text='Mask "on", please & thanks!', language="en",
        output="call",
    )  # fmt: skip
    outputs.carry_out(reminder, made)
    reminder.refresh_from_db()
    return reminder


def test_a_written_call_has_what_is_said_in_its_place(world: World) -> None:
    with loudspeaker() as speaker:
        body = '{"say": "$text", "where": "${camera} of $site", "price": "$$5"}'
        url = f"http://{speaker.host}/play?lang=$language&text=$text"
        done = remind(world, method="POST", url=url, content_type="application/json", body=body)
    (asked,) = speaker.asked
    assert parse_qs(urlsplit(asked.path).query) == {"lang": ["en"], "text": [done.text]}
    assert json.loads(asked.body) == {"say": done.text, "where": "Front door of Harbour House", "price": "$5"}
    assert (asked.method, asked.content_type) == ("POST", "application/json")
    assert done.sent_at is not None and done.played_at is None and not done.why_not


def test_axis_gets_the_sound_once_as_fast_as_it_is_heard_after_signing_in(world: World) -> None:
    with loudspeaker(wants_login=True) as speaker:
        done = remind(world, preset="axis", host=speaker.host, user="admin", sealed_password=seal("p@ss:/#%"))
    samples, rate_hz = speech.from_wav(speech.render(done.text, "en").read_bytes())
    length_s = len(samples) / rate_hz
    refused, *_signed, played = speaker.asked
    assert (refused.body, refused.authorization) == (b"", "")
    assert {asked.path for asked in speaker.asked} == {"/axis-cgi/audio/transmit.cgi"}
    assert (played.method, played.content_type) == ("POST", "audio/basic")
    assert played.body == speech.to_mu_law(samples, rate_hz) and played.authorization.startswith("Digest ")
    assert sum(bool(asked.body) for asked in speaker.asked) == 1
    assert length_s - 0.5 < played.took_s < length_s + 1.5
    assert done.played_at is not None and not done.why_not


def test_a_loudspeaker_that_dislikes_an_empty_request_gets_its_sound_all_the_same(world: World) -> None:
    with loudspeaker(refuses_empty=True) as speaker:
        url = f"http://{speaker.host}/play"
        done = remind(world, url=url, method="POST", content_type="audio/wav", body="$audio_wav", user="admin")
    empty, full = speaker.asked
    assert not empty.body and full.body == speech.render(done.text, "en").read_bytes() and not done.why_not


def test_a_long_sentence_fits_into_an_address(world: World) -> None:
    with loudspeaker() as speaker:
        made = Voice.objects.create(
            camera=world.door, output="call", method="GET", url=f"http://{speaker.host}/?text=$text"
        )
        text = phrases.PHRASES["ru"]["incorrect_again"] * 2
        reminder = Reminder.objects.create(
            site=world.here, camera=world.door, step="first", text=text, language="ru", output="call"
        )
        outputs.carry_out(reminder, made)
    assert parse_qs(urlsplit(speaker.asked[0].path).query) == {"text": [text]}


def test_hikvision_opens_its_audio_channel_and_closes_it_whatever_happens(world: World) -> None:
    with loudspeaker() as speaker:
        remind(world, preset="hikvision", host=speaker.host, channel="2")
        paths = [(asked.method, asked.path.rsplit("/", 1)[1]) for asked in speaker.asked]
        assert paths == [("PUT", "open"), ("PUT", "audioData"), ("PUT", "close")]
        assert all("/channels/2/" in asked.path for asked in speaker.asked)
    with loudspeaker(broken="/audioData") as speaker:
        Voice.objects.all().delete()
        done = remind(world, preset="hikvision", host=speaker.host)
        assert "503" in done.detail and speaker.asked[-1].path.endswith("/close")


@pytest.mark.parametrize(
    ("preset", "channel", "method", "path"),
    [
        ("shelly", "1", "GET", "/rpc/Switch.Set?id=1&on=true&toggle_after=3"),
        ("go2rtc", "front door", "POST", "/api/ffmpeg?dst=front%20door&file="),
    ],
)
def test_the_other_makes_are_asked_as_they_document_it(
    world: World, preset: str, channel: str, method: str, path: str
) -> None:
    with loudspeaker() as speaker:
        done = remind(world, preset=preset, host=speaker.host, channel=channel)
    (asked,) = speaker.asked
    assert asked.method == method and asked.path.startswith(path) and done.sent_at is not None
    if preset == "go2rtc":
        audio = parse_qs(urlsplit(asked.path).query)["file"][0]
        got = Client().get(urlsplit(audio).path)
        assert got["Content-Type"] == "audio/wav" and got.content == speech.render(done.text, "en").read_bytes()


def test_the_sound_comes_in_parts_to_who_asks_for_parts(world: World) -> None:
    """Browsers on iPhones ask for parts: they play nothing that is served without ranges (RFC 9110, section 14)."""
    reminder = remind(world, url="http://127.0.0.1:9/", method="GET")
    path, whole = base.audio_path(reminder), speech.render(reminder.text, "en").read_bytes()
    part = Client().get(path, headers={"Range": "bytes=0-1"})
    assert (part.status_code, part.content, part["Content-Range"]) == (206, whole[:2], f"bytes 0-1/{len(whole)}")
    assert Client().get(path, headers={"Range": "bytes=100-"}).content == whole[100:]
    assert Client().get(path).content == whole


def test_the_sounds_address_is_nobodys_guess_and_ends(world: World) -> None:
    reminder = remind(world, url="http://127.0.0.1:9/", method="GET")
    path = base.audio_path(reminder)
    assert Client().get(path).status_code == 200
    assert Client().get(path.replace(".wav", "x.wav")).status_code == 404
    later = time.time() + 301
    with patch("django.core.signing.time.time", lambda: later):
        assert Client().get(path).status_code == 404


@pytest.mark.parametrize(
    ("voice", "detail"),
    [
        ({"url": "http://127.0.0.1:9/"}, "nothing listens"),
        ({"preset": "axis", "host": "169.254.169.254"}, "link-local"),
        ({"url": "ftp://10.0.0.1/"}, "must begin with"),
        ({"url": "http://[::1"}, "cannot be read"),
    ],
)
def test_what_cannot_be_reached_says_why(world: World, voice: dict[str, Any], detail: str) -> None:
    done = remind(world, **voice)
    assert done.why_not == Silence.UNREACHED and detail in done.detail and done.sent_at is None


def test_address_rules_of_cameras_hold_for_loudspeakers(world: World, settings: Any) -> None:
    settings.CAMERA_NETWORKS = []
    with loudspeaker() as speaker:
        done = remind(world, preset="shelly", host=speaker.host)
    assert done.why_not == Silence.UNREACHED and "portal's own machine" in done.detail and not speaker.asked


@pytest.mark.parametrize(("how", "detail"), [({"wants_login": True}, "user and a password"), ({"status": 500}, "500")])
def test_a_loudspeaker_that_refuses_is_quoted(world: World, how: dict[str, Any], detail: str) -> None:
    with loudspeaker(**how) as speaker:
        done = remind(world, url=f"http://{speaker.host}/", method="GET")
    assert done.why_not == Silence.UNREACHED and detail in done.detail


def test_a_wrong_password_is_tried_once(world: World) -> None:
    with loudspeaker(wants_login=True) as speaker:
        done = remind(world, preset="axis", host=speaker.host, user="guest", sealed_password=seal("x"))
    assert "refuses this user or password" in done.detail
    assert sum(bool(asked.authorization) for asked in speaker.asked) == 1


@given(st.text(max_size=60))
def test_no_text_breaks_a_template(text: str) -> None:
    problem = call.check_template(text, call.WORDS)
    reminder = Reminder(text="a", language="en")
    with (
        patch.object(call, "audio_url", lambda reminder: "u"),
        patch.object(Reminder, "camera"),
        patch.object(Reminder, "site"),
    ):
        reminder.camera.name = reminder.site.name = "n"
        filled = call.fill(text, reminder, str)
    if not problem and "$" not in text:
        assert filled == text


@pytest.mark.parametrize(
    ("text", "problem"), [("$text", ""), ("${audio_url}", ""), ("5 $", "placeholder"), ("$face", "$face")]
)
def test_an_unknown_placeholder_is_named(text: str, problem: str) -> None:
    assert (problem in call.check_template(text, call.WORDS)) and bool(call.check_template(text, call.WORDS)) == bool(
        problem
    )


# -- the worker's own machine -------------------------------------------------------------------------------------


def player(folder: Path, script: str) -> str:
    """A stand-in for aplay, which is of no use on a machine without a sound card."""
    path = folder / "aplay"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(folder)


def play_here(world: World, device: str = "") -> Reminder:
    voice = Voice.objects.create(camera=world.door, output="local", sound_device=device)
    reminder = Reminder.objects.create(
        site=world.here, camera=world.door, step=Reminder.Step.FIRST, text="Hello", language="en", output="local"
    )
    outputs.carry_out(reminder, voice)
    reminder.refresh_from_db()
    return reminder


def test_the_workers_machine_plays_the_file_on_its_device(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", player(tmp_path, f'echo "$@" > {tmp_path}/asked'), prepend=":")
    done = play_here(world, "plughw:1,0")
    quiet, flag, device, path = (tmp_path / "asked").read_text().split()
    assert (quiet, flag, device) == ("-q", "-D", "plughw:1,0")
    with wave.open(path) as file:
        assert file.getnframes() > file.getframerate()
    assert done.sent_at is not None and done.played_at is not None and done.played_at >= done.sent_at


@pytest.mark.parametrize(
    ("device", "is_played"),
    [
        ("default", True), ("hw:0", True), ("hw:1,0", True), ("plughw:CARD=PCH,DEV=0", True),
        ("sysdefault:CARD=PCH", True), ("file:out.raw", False), ("tee:hw,out.wav,raw", False), ("Direct", False),
        ("plug", False), ("hw:1,0,0,0", False),
    ],
)  # fmt: skip
def test_only_devices_that_the_worker_has_are_played_on(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, is_played: bool
) -> None:
    """ALSA's plug-ins would write files, wherever the address of the "device" says."""
    listed = "sysdefault:CARD=PCH\n    Direct sample mixing\nnull\n    Discard all"
    script = f'if [ "$1" = -L ]; then echo "{listed}"; else echo "$@" > {tmp_path}/asked; fi'
    monkeypatch.setenv("PATH", player(tmp_path, script), prepend=":")
    done = play_here(world, device)
    assert (tmp_path / "asked").exists() == is_played
    assert is_played or (done.why_not == Silence.UNPLAYED and "is not a sound device" in done.detail)


def test_a_sound_device_that_fails_is_quoted(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", player(tmp_path, "echo 'audio open error: No such device' >&2; exit 1"), prepend=":")
    done = play_here(world)
    assert (done.why_not, done.detail) == (Silence.UNPLAYED, "audio open error: No such device")


def test_a_machine_without_a_player_says_what_to_install(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "alsa-utils" in play_here(world).detail


# -- which process --------------------------------------------------------------------------------------------------


def test_a_slow_loudspeaker_does_not_hold_up_the_recorder(world: World) -> None:
    """A finding is recorded at once; the call continues in its own thread, and is recorded when it is over."""
    with loudspeaker() as speaker:
        Voice.objects.create(camera=world.door, output="call", preset="axis", host=speaker.host)
        began = time.monotonic()
        now = time.time()
        see(world.door, at=now - 3, last_seen_at=now)
        took_s = time.monotonic() - began
        deadline = time.monotonic() + 15
        while not Reminder.objects.filter(played_at__isnull=False).exists():
            assert time.monotonic() < deadline, "the call never ended"
            time.sleep(0.05)
        assert took_s < 1.0 < speaker.asked[-1].took_s


def test_a_call_that_had_to_wait_is_not_made_too_late(world: World) -> None:
    with loudspeaker() as speaker:
        voice = Voice.objects.create(camera=world.door, output="call", preset="shelly", host=speaker.host, channel="0")
        reminder = Reminder.objects.create(
            site=world.here, camera=world.door, step="first", text="x", language="en", output="call"
        )
        outputs.send(reminder, voice, timezone.now() - timedelta(seconds=0.1))
        deadline = time.monotonic() + 5
        while not Reminder.objects.filter(why_not=Silence.LATE).exists():
            assert time.monotonic() < deadline, "it was not written down"
            time.sleep(0.02)
        assert not speaker.asked


def test_played_by_hand_without_a_worker_it_says_so(world: World) -> None:
    Voice.objects.create(camera=world.door, output="local")
    done = reminding.play_by_hand(world.door)
    done.refresh_from_db()
    assert done.why_not == Silence.NO_WORKER
