"""Who is in view of a camera, in Redis, for the worker that watches it next."""

from __future__ import annotations

from typing import Any

from cameras.redis import in_view_key
from cameras.watching.handover import Handover, read
from detection.people import CARRIED_S
from tests.detection.scenes import Actor, Stage


def test_whoever_watches_next_reads_who_is_in_view(redis: Any) -> None:
    stage, handover = Stage(), Handover()
    stage.play(0, 2, Actor("a", 0.4, 0.5, "no_mask"), Actor("b", 0.8, 0.5, "mask"))
    people = stage.analyzer.people_in_view()
    handover.note({7: people, 8: ()})
    assert read(7) == people and len(people) == 2
    assert [person.spell is None for person in people] == [False, True]
    assert 0 < redis.ttl(in_view_key(7)) <= CARRIED_S, "it is forgotten by itself"
    assert redis.keys(in_view_key(8)) == [], "nobody costs nothing"
    handover.note({9: ()})
    assert read(7) == people, "it stays as it was while another may watch"
    handover.note({7: people})
    handover.note({7: ()})
    assert read(7) == ()


def test_what_another_version_wrote_makes_new_passages(redis: Any) -> None:
    redis.set(in_view_key(7), b'[{"key": "0193"}]')
    assert read(7) == ()
