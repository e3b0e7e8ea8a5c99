"""What is said between the server and a page at a door, one dataclass a message.

Read at their other end by door.js and speaker.js. Device to server:

    binary                                                 one JPEG frame; at most two may be unacknowledged
    {"type": "word", "word": "asleep"}                     why no frames come now (cameras/states.py: DeviceWord)
    {"type": "heard", "reminder": …, "why": ""}            a reminder was said to its end; or why not, as "locked"

Server to device, JSON:

    {"type": "settings", "camera": "Phone", "site": …, "rate": 5, "paused": false, "speaks": true}    at first, when
                                                           they change, and every 10 s: a page that hears nothing
                                                           connects anew
    {"type": "ack"}                                        a frame was taken, the next may come
    {"type": "answer", "number": 7, "faces": [{"box": …, "label": "mask", "confidence": …, "key": …}]}
    {"type": "say", "reminder": …, "text": …, "language": "en", "direction": "ltr", "audio": …}    say it now
    {"type": "trouble", "text": …}                         the frame was lost on our side; go on

"answer" comes from the camera's worker as it is, "say" from the voice (portal/voice/door.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from uuid import UUID

from cameras.states import DeviceWord
from portal.models import Silence

WHY_UNHEARD = {"", Silence.LOCKED, Silence.UNPLAYED, Silence.LATE}


# -- to the door ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DoorSettings:
    """How the door's camera is set: said at first, when it changes, and every 10 s."""

    camera: str
    site: str
    rate: float
    paused: bool
    speaks: bool
    type: str = "settings"


@dataclass(frozen=True)
class FrameAck:
    """A frame was taken, the next may come."""

    type: str = "ack"


@dataclass(frozen=True)
class Trouble:
    """The frame was lost on our side; go on."""

    text: str
    type: str = "trouble"


ToDoor = DoorSettings | FrameAck | Trouble


def encode(message: ToDoor) -> str:
    return json.dumps(asdict(message))


# -- from the door --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Word:
    """Why no frames come now."""

    word: DeviceWord


@dataclass(frozen=True)
class Heard:
    """A reminder was said to its end; or why not."""

    reminder: UUID
    why: str


def decode(text: str) -> Word | Heard:
    """Raises ValueError, TypeError, KeyError or RecursionError for what cannot be understood."""
    given = json.loads(text)
    match given["type"]:
        case "word":
            return Word(DeviceWord(given["word"]))
        case "heard":
            heard = Heard(UUID(str(given["reminder"])), given["why"])
            if heard.why not in WHY_UNHEARD:
                raise ValueError(heard.why)
            return heard
    raise ValueError(given["type"])
