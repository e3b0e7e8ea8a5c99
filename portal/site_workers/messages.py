"""What a worker at a site and the portal say to each other, one model each; JSON, beside what goes as bytes.

POST /api/v1/site-worker/round              Round → RoundAnswer        every two seconds
POST /api/v1/site-worker/findings           records, as in the spool   in order, each batch until it was taken
POST /api/v1/site-worker/previews/7         a preview, as in Redis     while somebody looks
POST /api/v1/site-worker/tests/0198…        the report of a camera's test, as it grows; its picture as bytes
POST /api/v1/site-worker/reminders          what the doors said
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

MOST_CAMERAS = 200  # of a stream worker
MOST_BATCH_BYTES = 1_900_000  # the portal takes no larger body
MOST_BATCH_RECORDS = 200
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Counts = Annotated[dict[str, Annotated[int, Field(ge=0, le=10**12)]], Field(max_length=10_000)]
CameraIds = Annotated[list[int], Field(max_length=MOST_CAMERAS)]


class LastSeen(BaseModel):
    """A camera that is online there: for how long more without another picture, and how old the last one is."""

    camera: int
    left_s: Seconds
    age_s: Seconds


class State(BaseModel):
    """A camera's state there, and for how long it has been so."""

    camera: int
    state: str = Field(max_length=16)
    detail: str = Field("", max_length=300)
    for_s: Seconds = 0.0
    is_out: bool = False  # an outage is open
    well_s: Seconds = 0.0  # for how long there has been none


class Round(BaseModel):
    """What the worker says of itself.

    Args:
        instance: of one run of it. beat: grows with each round.
        settings: the digest of what it was last told; empty if nothing.
        counts: what its watches did since the last round, as cameras/watching/counts.py names it; health: the same for
            a camera's page, by hour and as health.py names it: "447392|7|analysed".
    """

    instance: str = Field(max_length=40)
    version: str = Field(max_length=40)
    beat: int
    capacity: int = Field(ge=0, le=MOST_CAMERAS)
    load: Share = 0.0
    trouble: str = Field("", max_length=200)
    dropped: int = Field(0, ge=0)
    watching: CameraIds = []
    calm: CameraIds = []
    seen: list[LastSeen] = Field([], max_length=MOST_CAMERAS)
    states: list[State] = Field([], max_length=MOST_CAMERAS)
    settings: str = Field("", max_length=64)
    counts: Counts = {}
    health: Counts = {}


class Spoken(BaseModel):
    """A reminder as it is to be said by hand, or as it was said."""

    id: UUID
    camera: int
    step: str = Field(max_length=8)
    text: str = Field(max_length=200)
    language: str = Field(max_length=8)
    output: str = Field(max_length=16)
    passage: UUID | None = None
    violation: UUID | None = None
    decided_at: datetime
    sent_at: datetime | None = None
    played_at: datetime | None = None
    why_not: str = Field("", max_length=16)
    detail: str = Field("", max_length=300)


class AskedTest(BaseModel):
    """A test of a camera: what was typed, as cameras/setup/probe.py encodes it."""

    id: UUID
    typed: str


class LookedAt(BaseModel):
    """A camera at which somebody looks, with faces or without."""

    camera: int
    pixelated: bool = False


class RoundAnswer(BaseModel):
    """What the portal says to it.

    Args:
        settings: all that it needs to know (settings.py), if that is not what it was last told.
    """

    settings: dict[str, Any] | None = None
    looked_at: list[LookedAt] = []
    tests: list[AskedTest] = []
    say: list[Spoken] = []


class Reported(BaseModel):
    """A test's report so far, as cameras/setup/probe.py encodes it."""

    report: str = Field(max_length=20_000)


class SpokenReminders(BaseModel):
    """What the doors said, or why they did not."""

    reminders: list[Spoken] = Field(max_length=100)


class NotYet(BaseModel):
    """Reminders of passages that the portal does not know (yet): they are told again, a few times."""

    reminders: list[UUID] = []
