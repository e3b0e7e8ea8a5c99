"""How a device becomes a camera of a site, or the loudspeaker beside one: a link valid once, for ten
minutes, and a token for that one camera and purpose."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from cameras.models import Camera, Site
from cameras.redis import Errors
from portal.models import DeviceToken, Pairing, Purpose, User, Voice
from portal.people import access
from portal.people.memberships import hash_of
from portal.server import throttling

COOKIE = "device"  # holds the token in the device's browser; no script reads it
SPEAKER_COOKIE = "speaker"
COOKIES = {Purpose.CAMERA: COOKIE, Purpose.LOUDSPEAKER: SPEAKER_COOKIE}
GOOD_FOR = timedelta(minutes=10)
LONGEST_NAME = 120
TRIES_A_MINUTE = 10


class PairingError(Exception):
    """The link cannot be redeemed; the text is a sentence to show to people."""


def invite(
    site: Site, made_by: User, camera: Camera | None = None, purpose: Purpose = Purpose.CAMERA
) -> tuple[Pairing, str]:
    """A pairing link's row and its secret, which cannot be read again later.

    Args:
        camera: a device of the site to pair again, or the camera that gets a loudspeaker; without it a new camera is
            made.
    """
    secret, expires_at = secrets.token_urlsafe(24), timezone.now() + GOOD_FOR
    fields = {"site": site, "made_by": made_by, "camera": camera, "expires_at": expires_at, "purpose": purpose}
    return Pairing.objects.create(secret_hash=hash_of(secret), **fields), secret


def find(secret: str) -> Pairing | None:
    """The pairing of a link that can still be redeemed."""
    open_ones = Pairing.objects.filter(
        camera__deleted_at__isnull=True,  # also true where it has no camera yet
        redeemed_at__isnull=True,
        expires_at__gt=timezone.now(),
        site__archived_at__isnull=True,
    )
    return open_ones.select_related("site", "made_by", "camera").filter(secret_hash=hash_of(secret)).first()


@transaction.atomic
def redeem(secret: str, name: str, agent: str = "") -> tuple[Camera, str]:
    """The device's camera, usually a new one, and its token, which cannot be read again later.

    Args:
        name: of the camera; if it is taken, a number is added.
        agent: what the device says it is.

    Raises PairingError if the link was used, is too old or never existed, or if its maker no longer has the right.
    """
    pairing = _use(secret, Purpose.CAMERA)
    camera = pairing.camera
    if camera is None:
        Site.objects.select_for_update().get(pk=pairing.site_id)  # two devices at once each get their own name
        camera = Camera.objects.create(site=pairing.site, name=free_name(pairing.site, name), kind=Camera.Kind.DEVICE)
        Pairing.objects.filter(pk=pairing.pk).update(camera=camera)
    else:
        revoke(camera)  # one device per camera: the earlier one is unpaired
    Voice.objects.get_or_create(camera=camera, defaults={"output": Voice.Output.DEVICE})
    return camera, make_token(camera, agent)


@transaction.atomic
def redeem_loudspeaker(secret: str, agent: str = "") -> tuple[Camera, str]:
    """The camera beside which this device speaks from now on, and its token; the previous loudspeaker is unpaired.

    A camera that was silent until now speaks there. Raises PairingError as `redeem` does.
    """
    camera = _use(secret, Purpose.LOUDSPEAKER).camera
    if camera is None:
        raise PairingError(gone())
    revoke(camera, Purpose.LOUDSPEAKER)
    voice = Voice.objects.get_or_create(camera=camera)[0]
    if voice.output == Voice.Output.NOWHERE:
        Voice.objects.filter(pk=camera.pk).update(output=Voice.Output.LOUDSPEAKER)
    return camera, make_token(camera, agent, Purpose.LOUDSPEAKER)


def _use(secret: str, purpose: Purpose) -> Pairing:
    """The pairing of a link; this call uses it up."""
    pairing = find(secret)
    if pairing is None or pairing.purpose != purpose:
        raise PairingError(gone())
    if not access.may(pairing.made_by, access.Right.SET_UP, pairing.site) or not _use_up(pairing):
        raise PairingError(gone())
    return pairing


def gone() -> str:
    return _("This link has already been used, or is older than ten minutes. Ask for a new one.")


def may_try_again(address: str) -> bool:
    """Whether someone who sent an invalid link may try another this minute. It is counted; a valid link never is."""
    try:
        return throttling.allow("device-pair", address, TRIES_A_MINUTE)
    except Errors:
        return False


def _use_up(pairing: Pairing) -> bool:
    """Whether it was ours to use: of two devices that come at the same time, only one gets it."""
    return bool(Pairing.objects.filter(pk=pairing.pk, redeemed_at__isnull=True).update(redeemed_at=timezone.now()))


def free_name(site: Site, wanted: str) -> str:
    """The name, with the first number that makes it unique at this site if it is taken."""
    shown = "".join(letter for letter in wanted if letter.isprintable() or letter.isspace())
    base = " ".join(shown.split())[: LONGEST_NAME - 4] or str(_("Phone"))
    taken = set(
        Camera.objects.filter(site=site, deleted_at__isnull=True, name__startswith=base).values_list("name", flat=True)
    )
    return next(name for name in (base, *(f"{base} {n}" for n in range(2, len(taken) + 3))) if name not in taken)


def make_token(camera: Camera, agent: str = "", purpose: Purpose = Purpose.CAMERA) -> str:
    """A new token for a camera; those that it already has stay valid."""
    token = secrets.token_urlsafe(32)
    DeviceToken.objects.create(camera=camera, token_hash=hash_of(token), agent=agent[:300], purpose=purpose)
    return token


def camera_of(token: str, purpose: Purpose = Purpose.CAMERA) -> Camera | None:
    """The camera that a token is valid for, with its site, lease and voice; None for an invalid token. One query."""
    tokens = DeviceToken.objects.filter(good_tokens(), token_hash=hash_of(token), purpose=purpose)
    found = tokens.select_related("camera__site", "camera__lease", "camera__voice").first()
    return found.camera if found else None


def good_tokens() -> Q:
    """Tokens that were not revoked, of cameras that still exist."""
    return Q(revoked_at__isnull=True, camera__deleted_at__isnull=True, camera__site__archived_at__isnull=True)


def revoke(camera: Camera, purpose: Purpose = Purpose.CAMERA) -> int:
    """Revoke all tokens of a camera for this purpose; returns how many there were."""
    tokens = DeviceToken.objects.filter(camera=camera, purpose=purpose, revoked_at__isnull=True)
    return tokens.update(revoked_at=timezone.now())


def paired_as(camera: Camera, purpose: Purpose) -> DeviceToken | None:
    """The token of the device that is this camera or its loudspeaker, if there is one."""
    return DeviceToken.objects.filter(camera=camera, purpose=purpose, revoked_at__isnull=True).first()
