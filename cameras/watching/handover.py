"""Who is in view of each camera, in Redis: whoever watches next goes on with their passages and violations.

A worker writes it every second, and once more when it stops watching; nothing is written where nobody is in view. It is
forgotten after CARRIED_S, as is whoever was seen longer ago than that.

    in-view:7 → [{"key": "0193…", "seq": 4, "label": "no_mask", …}]    (detection/people.py)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import TypeAdapter, ValidationError

from cameras.redis import Errors, connection, in_view_key
from detection import CarriedPerson
from detection.people import CARRIED_S

log = logging.getLogger(__name__)
PEOPLE = TypeAdapter(tuple[CarriedPerson, ...])


class Handover:
    """What one worker notes of its cameras. Not thread-safe."""

    def __init__(self) -> None:
        self._noted: set[int] = set()

    def note(self, in_view: Mapping[int, Sequence[CarriedPerson]]) -> None:
        """Note who is in view of each watched camera now; cameras that are not named stay as they were."""
        with_people = {camera_id: people for camera_id, people in in_view.items() if people}
        emptied = {camera_id for camera_id in self._noted & in_view.keys() if camera_id not in with_people}
        if not with_people and not emptied:
            return
        pipeline = connection().pipeline(transaction=False)
        for camera_id, people in with_people.items():
            pipeline.set(in_view_key(camera_id), PEOPLE.dump_json(tuple(people)), ex=math.ceil(CARRIED_S))
        for camera_id in emptied:
            pipeline.delete(in_view_key(camera_id))
        pipeline.execute()
        self._noted = set(with_people)


def read(camera_id: int) -> tuple[CarriedPerson, ...]:
    """Who was in view of a camera lately. Nobody, if Redis does not answer: then they become new passages."""
    try:
        value = cast("bytes | None", connection().get(in_view_key(camera_id)))
        return PEOPLE.validate_json(value) if value else ()
    except Errors:
        log.warning("Redis does not answer: whoever is in view of camera %s becomes a new passage", camera_id)
    except ValidationError as error:  # by a worker of another version
        log.warning("who is in view of camera %s cannot be read: %s", camera_id, error)
    return ()
