"""A finding is the same after the spool as before it, whatever its kind; anything that is not a finding is refused."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.states import CameraState
from cameras.watching.findings import (
    KINDS,
    GlimpseFinding,
    OutageFinding,
    RecoveryFinding,
    ReignFinding,
    SpotFinding,
    StateFinding,
    WatchFinding,
    decode,
    encode,
    glimpses_of,
)
from cameras.watching.spool import Record
from detection import Glimpse, PassageFinding, Snapshot, StripPlace, ViolationFinding
from detection.zones import DEMANDS, REQUIRED

UUID_ONE = UUID(int=1)
MAY_LACK = {"camera", "token", "ended_at", "bare_since", "detail", "demand", "is_doubted", "goes_on"}
moments = st.floats(0, 4e9)
parts = st.integers(0, 10_000).map(lambda number: number / 10_000)
persons = {
    "key": st.uuids(),
    "seq": st.integers(1, 2**31),
    "label": st.sampled_from(["mask", "no_mask", "incorrect", "unsure"]),
    "confidence": parts,
    "started_at": moments,
    "last_seen_at": moments,
    "ended_at": st.none() | moments,
    "box": st.tuples(parts, parts, parts, parts),
    "demand": st.sampled_from(DEMANDS),
}
anything = st.one_of(
    st.builds(PassageFinding, **persons),
    st.builds(
        ViolationFinding, **persons, passage=st.uuids(), opened_at=moments, bare_since=moments, snapshot=st.none()
    ),
    st.builds(
        GlimpseFinding,
        key=st.uuids(),
        passage=st.uuids(),
        place=st.integers(0, 4),
        box=persons["box"],
        captured_at=moments,
        last_seen_at=moments,
        image_bgr=st.none(),
    ),
    st.builds(ReignFinding, at=moments, goes_on=st.lists(st.uuids(), max_size=3).map(tuple)),
    st.builds(StateFinding, state=st.sampled_from(CameraState), detail=st.text(max_size=40), at=moments),
    st.builds(OutageFinding, began_at=moments, reason=st.text(max_size=40), at=moments),
    st.builds(RecoveryFinding, ended_at=moments, at=moments),
    st.builds(
        SpotFinding,
        key=st.uuids(),
        box=persons["box"],
        visits=st.integers(0, 1000),
        first_at=moments,
        last_at=moments,
        is_doubted=st.booleans(),
    ),
)


@given(anything, st.integers(1, 2**31), st.integers(1, 2**31))
def test_a_finding_keeps_its_type_and_its_values(finding: WatchFinding, camera_id: int, token: int) -> None:
    told = decode(encode(camera_id, token, finding))
    assert (told.camera_id, told.token, told.finding, told.picture) == (camera_id, token, finding, None)


def test_a_snapshot_becomes_a_picture_with_its_time() -> None:
    box = (0.1, 0.1, 0.2, 0.2)
    snapshot = Snapshot(np.full((40, 60, 3), 90, np.uint8), box, 1.5)
    given_one = ViolationFinding(UUID_ONE, UUID_ONE, 1, "no_mask", 0.9, 1.0, 2.0, None, 2.0, 1.0, box, snapshot)
    told = decode(encode(7, 3, given_one))
    assert told.picture is not None and told.picture.captured_at == 1.5 and told.picture.jpeg.startswith(b"\xff\xd8")
    assert not told.picture.is_spare
    spare = decode(encode(7, 3, replace(given_one, snapshot=replace(snapshot, is_spare=True)))).picture
    assert spare is not None and spare.is_spare


def test_a_violations_glimpses_follow_it_each_with_its_picture() -> None:
    box = (0.1, 0.1, 0.2, 0.2)
    taken = tuple(Glimpse(np.full((40, 30, 3), 9 * place, np.uint8), box, 1.0 + place, place) for place in StripPlace)
    violation = ViolationFinding(
        UUID_ONE, UUID_ONE, 1, "no_mask", 0.9, 1.0, 2.0, None, 2.0, 1.0, box, glimpses=taken
    )  # fmt: skip
    told = [decode(encode(7, 3, each)) for each in glimpses_of(violation)]
    assert [(each.finding.place, each.finding.captured_at) for each in told] == [(n, 1.0 + n) for n in range(5)]  # type: ignore[union-attr]
    assert len({each.picture.jpeg for each in told if each.picture}) == 5


def test_every_kind_has_a_name_of_its_own() -> None:
    assert len(set(KINDS.values())) == len(KINDS) == 8


def test_a_spool_of_the_last_release_is_read() -> None:
    """Neither `bare_since`, so a person counts as bare since the violation began; nor `demand`: masks were required."""
    body = encode(7, 3, ViolationFinding(UUID_ONE, UUID_ONE, 1, "no_mask", 0.9, 1.0, 2.0, None, 2.0, 1.5, (0, 0, 1, 1)))
    old = {name: value for name, value in body.body.items() if name not in {"bare_since", "demand"}}
    told = decode(Record(old))
    assert isinstance(told.finding, ViolationFinding) and told.finding.bare_since == 1.0
    assert told.finding.demand == REQUIRED


@pytest.mark.parametrize("bad", [{"demand": "sometimes"}, {"demand": None}, {"is_doubted": 1}, {"is_doubted": None}])
def test_what_is_asked_and_doubted_is_one_of_few_words(bad: dict[str, object]) -> None:
    found: list[WatchFinding] = [PassageFinding(UUID_ONE, 1, "mask", 0.9, 1.0, 2.0, None, (0, 0, 1, 1)),
             SpotFinding(UUID_ONE, (0, 0, 1, 1), 5, 1.0, 2.0, is_doubted=True)]  # fmt: skip
    body = encode(1, 1, found["is_doubted" in bad]).body
    with pytest.raises(ValueError, match="is no"):
        decode(Record(body | bad))


@given(anything, st.data())
def test_what_lacks_something_or_has_something_else_there_is_refused(
    finding: WatchFinding, data: st.DataObject
) -> None:
    body = dict(encode(1, 1, finding).body)
    name = data.draw(st.sampled_from(sorted(set(body) - MAY_LACK)))
    if data.draw(st.booleans()):
        del body[name]
        if name == "kind":
            return  # the spool itself accepts no record without one
    else:
        body[name] = data.draw(st.sampled_from([None, True, [], {"a": 1}]))
    with pytest.raises(ValueError, match="no |not |cannot|valid|unpack"):
        decode(Record(body))


def test_a_kind_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="dance"):
        decode(Record({"kind": "dance", "camera": 1, "token": 1}))
