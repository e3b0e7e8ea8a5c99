"""An HTTP call to a camera or loudspeaker: one of the presets, or written by hand.

Placeholders stand for what is said (string.Template): `$text`, `$language`, `$camera`, `$site`, `$audio_url`, the
address of a WAV file that is valid for five minutes. In a URL they are percent-encoded, in a body escaped as its
content type requires. A body that is only `$audio_wav` or `$audio_mulaw` is the sound itself; mu-law is sent in real
time, as cameras expect. The address rules for cameras apply here too (cameras/reach/addresses.py).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import Template
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import httpx
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cameras.errors import CameraError, StreamError
from cameras.reach import addresses
from cameras.reach.checked_http import checked_client
from cameras.reach.credentials import unseal
from cameras.reach.login import Login
from portal.models import Reminder, Silence, Voice
from portal.voice import speech
from portal.voice.base import NotSaidError, Said, audio_url
from portal.voice.speech import SpeechError

WORDS = ("text", "language", "camera", "site", "audio_url")
SOUNDS = ("audio_wav", "audio_mulaw")
ANSWER_S = 8.0
WRITE_S = 5.0
CHUNK_S = 0.02
MOST_CHARACTERS = 8000  # of an address with its placeholders filled in


@dataclass(frozen=True)
class Call:
    """One request, with its placeholders."""

    method: str
    url: str
    content_type: str = ""
    body: str = ""


@dataclass(frozen=True)
class Preset:
    """How a make is asked to play something, according to its public documentation.

    Args:
        calls: the requests, in order, for a host and a channel; the last one is made even if an earlier one fails.
        first_channel: the usual channel; empty if it must be typed, None if there is none.
    """

    name: str
    note: str | Promise
    calls: Callable[[str, str], list[Call]]
    first_channel: str | None = None


def _axis(host: str, _channel: str) -> list[Call]:
    return [Call("POST", f"http://{host}/axis-cgi/audio/transmit.cgi", "audio/basic", "$audio_mulaw")]


def _hikvision(host: str, channel: str) -> list[Call]:
    base = f"http://{host}/ISAPI/System/TwoWayAudio/channels/{quote(channel or '1', safe='')}"
    return [
        Call("PUT", f"{base}/open"),
        Call("PUT", f"{base}/audioData", "application/octet-stream", "$audio_mulaw"),
        Call("PUT", f"{base}/close"),
    ]


def _shelly(host: str, channel: str) -> list[Call]:
    return [Call("GET", f"http://{host}/rpc/Switch.Set?id={quote(channel or '0', safe='')}&on=true&toggle_after=3")]


def _go2rtc(host: str, channel: str) -> list[Call]:
    host = host if ":" in host else f"{host}:1984"
    return [Call("POST", f"http://{host}/api/ffmpeg?dst={quote(channel, safe='')}&file=$audio_url")]


PRESETS: dict[str, Preset] = {
    "axis": Preset("Axis", gettext_lazy("A camera or speaker with audio out. Its user must be an operator."), _axis),
    "hikvision": Preset(
        "Hikvision", gettext_lazy("Two-way audio must be G.711ulaw: Video & Audio, Audio, Encoding."), _hikvision,
        "1",
    ),
    "shelly": Preset(
        "Shelly", gettext_lazy("A relay (second generation or later), on for three seconds: for a lamp, a gong, or "
                               "your own player."), _shelly, "0",
    ),
    "go2rtc": Preset(
        "go2rtc", gettext_lazy("Plays on the camera that it names. It fetches the sound from the portal, so it must "
                               "reach the portal's address."), _go2rtc, "",
    ),
}  # fmt: skip


def address_of(preset: str, host: str, channel: str, url: str) -> str:
    """Where a call is sent, along with its login; empty if nothing is typed yet."""
    if preset not in PRESETS:
        return url
    return PRESETS[preset].calls(host, channel)[0].url if host else ""


def calls_of(voice: Voice) -> list[Call]:
    if voice.preset in PRESETS:
        return PRESETS[voice.preset].calls(voice.host, voice.channel)
    return [Call(voice.method, voice.url, voice.content_type, voice.body)]


def check_template(text: str, allowed: tuple[str, ...]) -> str:
    """What is wrong with a text with placeholders, as a sentence; empty if nothing is."""
    template = Template(text)
    names = ", ".join(f"${name}" for name in allowed)
    if not template.is_valid():
        return _("A $ begins a placeholder: %(names)s. Write $$ for a $ itself.") % {"names": names}
    unknown = [name for name in template.get_identifiers() if name not in allowed]
    if unknown:
        return _("$%(name)s is unknown. There are %(names)s.") % {"name": unknown[0], "names": names}
    return ""


def say(reminder: Reminder, voice: Voice) -> Said:
    """Make the calls. Sound that was sent in real time is known to have been played."""
    *first, last = calls_of(voice)
    sent_at = timezone.now()
    try:
        with Line(voice.user, unseal(voice.sealed_password)) as line:
            try:
                for call in first:
                    line.make(call, reminder)
            finally:
                line.make(last, reminder)  # what was opened is closed, whatever happens
    except (CameraError, SpeechError) as error:
        raise NotSaidError(Silence.UNREACHED, str(error)) from error
    except (httpx.HTTPError, OSError) as error:
        raise NotSaidError(Silence.UNREACHED, _("The connection to the loudspeaker was lost.")) from error
    was_heard = any(call.body == "$audio_mulaw" for call in (*first, last))
    return Said(sent_at, timezone.now() if was_heard else None)


@dataclass(frozen=True)
class Sound(httpx.SyncByteStream):
    """A sound as a request's body. `pace` is in bytes a second; 0: as fast as possible."""

    data: bytes
    pace: int = 0

    @property
    def length_s(self) -> float:
        return len(self.data) / self.pace if self.pace else 0.0

    def __iter__(self) -> Iterator[bytes]:
        if not self.pace:
            yield self.data
            return
        step, began = int(self.pace * CHUNK_S), time.monotonic()
        for at in range(0, len(self.data), step):
            time.sleep(max(0.0, began + at / self.pace - time.monotonic()))
            yield self.data[at : at + step]
        time.sleep(max(0.0, began + self.length_s - time.monotonic()))


def is_sound(body: str) -> bool:
    return body in {f"${name}" for name in SOUNDS}


def names_sound(body: str) -> bool:
    return any(name in SOUNDS for name in Template(body).get_identifiers())


def sound_of(body: str, reminder: Reminder) -> Sound | None:
    """The sound that a body stands for; None if it is text. Raises SpeechError and OSError."""
    if not is_sound(body):
        return None
    data = speech.render(reminder.text, reminder.language).read_bytes()
    return Sound(data) if body == "$audio_wav" else Sound(speech.to_mu_law(*speech.from_wav(data)), speech.TELEPHONE_HZ)


def fill(text: str, reminder: Reminder, escaped: Callable[[str], str]) -> str:
    """The text with its placeholders filled in for this reminder."""
    words = {
        "text": reminder.text,
        "language": reminder.language,
        "camera": reminder.camera.name,
        "site": reminder.site.name,
        "audio_url": audio_url(reminder),
    }
    return Template(text).safe_substitute({name: escaped(value) for name, value in words.items()})


def escaping(content_type: str) -> Callable[[str], str]:
    """How a value is written in a body of this type."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.endswith("json"):
        return lambda value: json.dumps(value)[1:-1]
    if kind.endswith("xml"):
        return lambda value: escape(value, {'"': "&quot;", "'": "&apos;"})
    return quote_plus if kind == "application/x-www-form-urlencoded" else str


class Line:
    """The connection to one loudspeaker, for the calls of one reminder."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._login = Login(user, password)
        self._until = 0.0
        self._client = checked_client(self._check, threading.Event(), WRITE_S)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def _check(self) -> None:
        if time.monotonic() > self._until:
            raise StreamError(_("The loudspeaker accepted the connection, but does not answer."))

    def make(self, call: Call, reminder: Reminder) -> None:
        """Make one call. Raises CameraError if it is refused, httpx.HTTPError if the connection breaks."""
        written = fill(call.url, reminder, lambda value: quote(value, safe=""))
        url = addresses.parse_address(written, ("http", "https"), MOST_CHARACTERS).url
        headers = {"Content-Type": call.content_type} if call.content_type else {}
        sound = sound_of(call.body, reminder)
        if sound is None:
            body = fill(call.body, reminder, escaping(call.content_type)).encode()
            self._send(self._client.build_request(call.method, url, headers=headers, content=body or None), 0.0)
            return
        if self._user and not self._login.is_used:  # the sound must not be sent twice
            self._sign_in(self._client.build_request(call.method, url, headers=headers | {"Content-Length": "0"}))
        headers["Content-Length"] = str(len(sound.data))
        self._send(self._client.build_request(call.method, url, headers=headers, content=sound), sound.length_s)

    def _sign_in(self, request: httpx.Request) -> None:
        """Learn how to sign in; any other answer to an empty request means nothing."""
        response = self._ask(request, 0.0)
        if response.status_code == 401:
            self._answer(request, response)

    def _send(self, request: httpx.Request, length_s: float) -> None:
        """Make a request; if a login is asked for, once more with it. A sound is sent once."""
        if self._login.is_used:
            uri = request.url.raw_path.decode("ascii")
            request.headers["Authorization"] = self._login.header(request.method, uri)
        response = self._ask(request, length_s)
        if response.status_code == 401 and not self._login.is_used and not length_s:
            self._answer(request, response)
            response = self._ask(request, length_s)
        if response.status_code == 401:
            raise StreamError(_("The loudspeaker refuses this user or password."))
        if response.status_code >= 300:
            raise StreamError(_("The loudspeaker answers with error %(status)d.") % {"status": response.status_code})

    def _ask(self, request: httpx.Request, length_s: float) -> httpx.Response:
        self._until = time.monotonic() + ANSWER_S + length_s
        response = self._client.send(request, stream=True)
        response.close()
        return response

    def _answer(self, request: httpx.Request, response: httpx.Response) -> None:
        challenges = response.headers.get_list("www-authenticate")
        uri = request.url.raw_path.decode("ascii")
        request.headers["Authorization"] = self._login.answer(request.method, uri, challenges)
