"""The messages between the server and a page at a door, one dataclass each.

The other end is door.js and speaker.js. Device to server:

    binary                                                 one JPEG frame; at most two may be unacknowledged
    {"type": "word", "word": "asleep"}                     why no frames are coming (cameras/states.py: DeviceWord)
    {"type": "heard", "reminder": …, "why": ""}            a reminder was said to its end; or why not, as in "locked"

Server to device, JSON:

    {"type": "settings", "camera": "Phone", "site": …, "rate": 5, "paused": false, "speaks": true, …}    on connecting,
                                                           when they change, and every 10 s: a page that hears
                                                           nothing reconnects
    {"type": "ack"}                                        a frame was accepted, the next may be sent
    {"type": "answer", "number": 7, "faces": [{"box": …, "label": "mask", "confidence": …, "key": …}]}
    {"type": "say", "reminder": …, "text": …, "language": "en", "direction": "ltr", "audio": …}    say it now
    {"type": "trouble", "text": …}                         the frame was lost on our side; carry on

"answer" is passed on unchanged from the camera's worker, and "say" from the voice (portal/voice/door.py).
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
class PrivateZone:
    """One polygon. `aspect` is the width by the height of the picture that it was drawn on; 0 if it is not known."""

    points: tuple[tuple[float, float], ...]
    aspect: float


@dataclass(frozen=True)
class DoorSettings:
    """The settings of the door's camera: sent on connecting, when they change, and every 10 s.

    Args:
        private: what of its picture nobody may see: polygons of points from 0 to 1, and the shape of the picture that
            they were drawn on. The page blacks them out before it shows or sends anything.
    """

    camera: str
    site: str
    rate: float
    paused: bool
    speaks: bool
    private: tuple[PrivateZone, ...] = ()
    type: str = "settings"


@dataclass(frozen=True)
class FrameAck:
    """A frame was accepted, the next may be sent."""

    type: str = "ack"


@dataclass(frozen=True)
class Trouble:
    """The frame was lost on our side; carry on."""

    text: str
    type: str = "trouble"


ToDoor = DoorSettings | FrameAck | Trouble


def encode(message: ToDoor) -> str:
    return json.dumps(asdict(message))


# -- from the door --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Word:
    """Why no frames are coming."""

    word: DeviceWord


@dataclass(frozen=True)
class Heard:
    """A reminder was said to its end; or why it was not."""

    reminder: UUID
    why: str


def decode(text: str) -> Word | Heard:
    """Raises ValueError, TypeError, KeyError or RecursionError for a message that cannot be understood."""
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
