"""What a watch reports, one dataclass per kind: a finding keeps its type from the analyzer to the row.

    spool.put(findings.encode(camera_id, token, finding))      in the worker
    match findings.decode(record).finding: ...                 where it is recorded

In the spool a finding is a record whose header has `kind`, `camera`, `token`, and the finding's own fields by name; a
violation's picture, or a glimpse, follows the header as JPEG:

    {"kind": "passage", "camera": 7, "token": 3, "key": "0198…", "seq": 1, "label": "no_mask", "confidence": 0.97,
     "started_at": 1767225600.2, "last_seen_at": 1767225602.4, "ended_at": null, "box": [0.4, 0.3, 0.6, 0.7],
     "demand": "required"}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from cameras.states import CameraState
from cameras.watching.spool import Record
from detection import Box, Image, PassageFinding, StripPlace, ViolationFinding, encode_jpeg, scaled_down
from detection.zones import DEMANDS, REQUIRED

PICTURE_SIDE_PX = 1920
PICTURE_QUALITY = 88
GLIMPSE_QUALITY = 82


@dataclass(frozen=True)
class ReignFinding:
    """The watch began under a new token: whatever older tokens left open is over, but for what goes on under this one.

    Args:
        goes_on: passages of people who were in view a moment ago.
    """

    at: float
    goes_on: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class StateFinding:
    """The camera's state, and a sentence about it."""

    state: CameraState
    detail: str
    at: float


@dataclass(frozen=True)
class OutageFinding:
    """No pictures since `began_at`."""

    began_at: float
    reason: str
    at: float


@dataclass(frozen=True)
class RecoveryFinding:
    """Pictures have come steadily again since `ended_at`."""

    ended_at: float
    at: float


@dataclass(frozen=True)
class SpotFinding:
    """A place at which pictures of faces show, as it seems; or not so after all.

    Args:
        key: the spot's.
    """

    key: UUID
    box: Box
    visits: int
    first_at: float
    last_at: float
    is_doubted: bool


@dataclass(frozen=True)
class GlimpseFinding:
    """One picture of a violation's filmstrip; it follows the violation.

    Args:
        key: of the violation.
        box: the face, relative to this picture.
        last_seen_at: of the finding with which it came.
        image_bgr: none once it is read from a spool; then the JPEG is `Told.picture`.
    """

    key: UUID
    passage: UUID
    place: int
    box: Box
    captured_at: float
    last_seen_at: float
    image_bgr: Image | None = None


WatchFinding = (
    PassageFinding
    | ViolationFinding
    | GlimpseFinding
    | ReignFinding
    | StateFinding
    | OutageFinding
    | RecoveryFinding
    | SpotFinding
)


@dataclass(frozen=True)
class Picture:
    """The snapshot of a violation, as it is stored; `is_spare` as in `Snapshot`."""

    jpeg: bytes
    captured_at: float
    is_spare: bool = False


@dataclass(frozen=True)
class Told:
    """A finding, with the camera and token under which it was made. Its snapshot, if it had one, is `picture` now."""

    camera_id: int
    token: int
    finding: WatchFinding
    picture: Picture | None = None


def encode(camera_id: int, token: int, finding: WatchFinding) -> Record:
    """Its spool record. A picture is scaled to PICTURE_SIDE_PX and encoded (some 10 ms); few findings have one."""
    kind, body = KINDS[type(finding)], _bodies[type(finding)](finding)
    picture = b""
    if isinstance(finding, ViolationFinding) and finding.snapshot is not None:
        body["snapshot_at"] = finding.snapshot.captured_at
        if finding.snapshot.is_spare:
            body["snapshot_is_spare"] = True
        picture = encode_jpeg(scaled_down(finding.snapshot.image_bgr, PICTURE_SIDE_PX), PICTURE_QUALITY)
    if isinstance(finding, GlimpseFinding) and finding.image_bgr is not None:
        picture = encode_jpeg(finding.image_bgr, GLIMPSE_QUALITY)
    return Record({"kind": kind, "camera": camera_id, "token": token} | body, picture)


def glimpses_of(finding: ViolationFinding) -> list[GlimpseFinding]:
    """What is told after a violation: the pictures of its filmstrip that are new."""
    return [
        GlimpseFinding(
            finding.key, finding.passage, each.place, each.box, each.captured_at, finding.last_seen_at, each.image_bgr
        )
        for each in finding.glimpses
    ]


def decode(record: Record) -> Told:
    """The finding in a record; raises ValueError if it holds none, or an impossible one."""
    body = record.body
    try:
        finding = _readers[record.kind](body)
        picture = _read_picture(record) if record.picture else None
        return Told(record.camera_id, record.token, finding, picture)
    except KeyError as error:
        raise ValueError(f"no {error} in a {record.kind}") from error
    except TypeError as error:
        raise ValueError(f"a {record.kind} that cannot be read: {error}") from error


# -- to a header ----------------------------------------------------------------------------------------------------


def _person(finding: PassageFinding | ViolationFinding) -> dict[str, Any]:
    return {
        "key": str(finding.key),
        "seq": finding.seq,
        "label": finding.label,
        "confidence": round(finding.confidence, 4),
        "started_at": finding.started_at,
        "last_seen_at": finding.last_seen_at,
        "ended_at": finding.ended_at,
        "box": _rounded(finding.box),
        "demand": finding.demand,
    }


def _rounded(box: Box) -> list[float]:
    return [round(value, 5) for value in box]


def _violation(finding: ViolationFinding) -> dict[str, Any]:
    own = {"passage": str(finding.passage), "opened_at": finding.opened_at, "bare_since": finding.bare_since}
    return _person(finding) | own


def _glimpse(finding: GlimpseFinding) -> dict[str, Any]:
    return {
        "key": str(finding.key),
        "passage": str(finding.passage),
        "place": int(finding.place),
        "box": _rounded(finding.box),
        "snapshot_at": finding.captured_at,
        "last_seen_at": finding.last_seen_at,
    }


def _fields(finding: Any) -> dict[str, Any]:
    return dict(vars(finding))


KINDS: dict[type, str] = {
    PassageFinding: "passage",
    ViolationFinding: "violation",
    GlimpseFinding: "glimpse",
    ReignFinding: "reign",
    StateFinding: "state",
    OutageFinding: "outage",
    RecoveryFinding: "recovered",
    SpotFinding: "spot",
}
_bodies: Mapping[type, Callable[[Any], dict[str, Any]]] = {
    PassageFinding: _person,
    ViolationFinding: _violation,
    GlimpseFinding: _glimpse,
    ReignFinding: lambda finding: {"at": finding.at, "goes_on": [str(key) for key in finding.goes_on]},
    StateFinding: lambda finding: _fields(replace(finding, state=finding.state.value)),
    OutageFinding: _fields,
    RecoveryFinding: _fields,
    SpotFinding: lambda finding: _fields(finding) | {"key": str(finding.key), "box": _rounded(finding.box)},
}


# -- from a header --------------------------------------------------------------------------------------------------


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is no truth value")
    return value


def _demand(value: object) -> str:
    if value not in DEMANDS:
        raise ValueError(f"{value!r} is no demand")
    return str(value)


def _box(value: Any) -> Box:
    x1, y1, x2, y2 = (_number(side) for side in value)
    return x1, y1, x2, y2


def _read_person(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": UUID(_text(body["key"])),
        "seq": _whole(body["seq"]),
        "label": _text(body["label"]),
        "confidence": _number(body["confidence"]),
        "started_at": _number(body["started_at"]),
        "last_seen_at": _number(body["last_seen_at"]),
        "ended_at": None if body["ended_at"] is None else _number(body["ended_at"]),
        "box": _box(body["box"]),
        "demand": _demand(body.get("demand", REQUIRED)),  # spools of version 0.3 have none
    }


def _read_violation(body: Mapping[str, Any]) -> ViolationFinding:
    return ViolationFinding(
        **_read_person(body),
        passage=UUID(_text(body["passage"])),
        opened_at=_number(body["opened_at"]),
        bare_since=_number(body.get("bare_since", body["started_at"])),  # spools of version 0.2 have none
    )


def _read_glimpse(body: Mapping[str, Any]) -> GlimpseFinding:
    return GlimpseFinding(
        key=UUID(_text(body["key"])),
        passage=UUID(_text(body["passage"])),
        place=int(StripPlace(_whole(body["place"]))),
        box=_box(body["box"]),
        captured_at=_number(body["snapshot_at"]),
        last_seen_at=_number(body["last_seen_at"]),
    )


def _read_picture(record: Record) -> Picture:
    is_spare = _truth(record.body.get("snapshot_is_spare", False))
    return Picture(record.picture, float(record.body["snapshot_at"]), is_spare)


def _read_reign(body: Mapping[str, Any]) -> ReignFinding:
    goes_on = body.get("goes_on", [])  # spools of version 0.3 have none
    return ReignFinding(_number(body["at"]), tuple(UUID(_text(key)) for key in goes_on))


def _read_spot(body: Mapping[str, Any]) -> SpotFinding:
    return SpotFinding(
        UUID(_text(body["key"])),
        _box(body["box"]),
        _whole(body["visits"]),
        _number(body["first_at"]),
        _number(body["last_at"]),
        _truth(body["is_doubted"]),
    )


_readers: Mapping[str, Callable[[Mapping[str, Any]], WatchFinding]] = {
    "passage": lambda body: PassageFinding(**_read_person(body)),
    "violation": _read_violation,
    "glimpse": _read_glimpse,
    "reign": _read_reign,
    "state": lambda body: StateFinding(CameraState(body["state"]), _text(body["detail"]), _number(body["at"])),
    "outage": lambda body: OutageFinding(_number(body["began_at"]), _text(body["reason"]), _number(body["at"])),
    "recovered": lambda body: RecoveryFinding(_number(body["ended_at"]), _number(body["at"])),
    "spot": _read_spot,
}
