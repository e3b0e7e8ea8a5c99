"""What to change about where a camera hangs, from the faces that it has seen in the last day."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from cameras.watching.health import Health
from detection.votes import FULL_SIDE_PX

ENOUGH_FACES = 50  # measured in single analyses
MANY = 0.3
UNSURE_MANY = 0.2
ENOUGH_PEOPLE = 10


@dataclass(frozen=True)
class Advice:
    """What was seen, and what to do about it."""

    seen: str
    remedy: str


def advise(health: Health, people: int, unsure: int) -> list[Advice] | None:
    """What to change; nothing if all is well, None if too little was seen to say.

    Args:
        people: who passed in the last day; unsure: of how many it could not be said whether they wore a mask.
    """
    if health.faces < ENOUGH_FACES:
        return None
    found = []
    if health.small_share > MANY:
        found.append(
            Advice(
                _("%(share)d%% of the faces are small: %(side)d px on average, where %(full)d are needed.")
                % {"share": 100 * health.small_share, "side": health.side_px, "full": FULL_SIDE_PX},
                _("Zoom in, mount it closer to where people come in, or set its view to a wide lobby."),
            )
        )
    if health.dark_share > MANY:
        found.append(
            Advice(
                _("%(share)d%% of the faces are dark.") % {"share": 100 * health.dark_share},
                _("Light them from the front, and do not point the camera at a window or a glass door."),
            )
        )
    if health.blurred_share > MANY:
        found.append(
            Advice(
                _("%(share)d%% of the faces are blurred.") % {"share": 100 * health.blurred_share},
                _("Clean and focus the lens, or shorten its exposure; more light helps, too."),
            )
        )
    if people >= ENOUGH_PEOPLE and unsure > UNSURE_MANY * people:
        found.append(
            Advice(
                _("For %(unsure)d of %(people)d people, it was unclear whether they wore a mask.")
                % {"unsure": unsure, "people": people},
                _(
                    "Lower it to face height, and let people walk towards it: it sees too much from "
                    "above or from the side."
                ),
            )
        )
    return found
