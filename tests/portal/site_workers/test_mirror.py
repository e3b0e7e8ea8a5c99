"""What a worker at a site makes of what the portal tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from cameras.models import Camera, CameraSpot, CameraZone
from cameras.reach.credentials import seal, unseal
from cameras.settings import settings_of
from detection import make_key
from portal.events import outgoing
from portal.models import Reminder, SitePhrase, Voice
from portal.site_workers import mirror
from portal.site_workers.settings import settings_for
from portal.voice import phrases
from tests.portal.site_workers.conftest import Caller
from tests.worlds import BOX, World, passage_record, set_policy

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.PORTAL = "https://masks.example.org"


def told(world: World, caller: Caller) -> dict[str, Any]:
    """As the portal tells it, of a camera with all that one can have."""
    Camera.objects.filter(pk=world.door.pk).update(
        kind="rtsp", address="rtsp://10.0.0.9/1", user="viewer", sealed_password=seal("pw"), reminder_after_s=1.5
    )
    CameraZone.objects.create(camera=world.door, kind="privacy", points=[[0, 0], [1, 0], [1, 1]], hours={"mon": []})
    CameraSpot.objects.create(
        pk=make_key(1.0), camera=world.door, box=BOX, visits=5, first_at=timezone.now(), last_at=timezone.now()
    )
    Voice.objects.create(camera=world.door, output="call", url="http://10.0.0.8/say", sealed_password=seal("said"))
    set_policy(world.here, language="de", thanks=True, reminder_hours={"mon": [["08:00", "18:00"]]})
    SitePhrase.objects.create(site=world.here, language="de", phrase="no_mask", text="Maske auf!")
    caller.hold(world.door)
    return settings_for(caller.worker)


def test_its_own_rows_are_what_the_portal_has(world: World, caller: Caller) -> None:
    before = told(world, caller)
    as_watched = settings_of(Camera.objects.get(pk=world.door.pk))
    CameraZone.objects.all().delete()
    CameraSpot.objects.all().delete()
    SitePhrase.objects.all().delete()
    Voice.objects.all().delete()
    Camera.objects.update(address="", sealed_password="", user="", kind="clip")
    for _twice in range(2):
        mirror.apply(before)
    now = settings_of(Camera.objects.get(pk=world.door.pk))
    assert now.place == as_watched.place and now.place.password == "pw"
    assert (now.zoning.drawn, now.version) == (as_watched.zoning.drawn, as_watched.version)
    assert [(each.key, each.box, each.is_doubted) for each in now.spots] == [
        (each.key, each.box, each.is_doubted) for each in as_watched.spots
    ]
    camera = Camera.objects.select_related("site__policy", "voice").get(pk=world.door.pk)
    assert unseal(camera.voice.sealed_password) == "said" and camera.voice.output == "call"
    assert phrases.phrases_of(camera.site)["no_mask"] == "Maske auf!" and camera.site.policy.retention_days == 1
    assert set(Camera.objects.filter(deleted_at=None)) == {camera}, "cameras that it does not hold are not watched"


def test_a_page_at_the_door_is_left_to_the_portal(world: World, caller: Caller) -> None:
    given = told(world, caller)
    given["cameras"][0]["voice"]["output"] = "loudspeaker"
    mirror.apply(given)
    assert Voice.objects.get(camera=world.door).output == "nowhere"


def test_a_portal_of_another_version_may_say_more_or_less(world: World, caller: Caller) -> None:
    given = told(world, caller)
    given["cameras"][0] |= {"new": 1}
    given["site"] |= {"new": 1}
    del given["cameras"][0]["reminder_after_s"], given["policy"]["thanks"]
    mirror.apply(given)
    assert Camera.objects.filter(pk=world.door.pk, deleted_at=None).exists()


def test_when_its_key_is_revoked_it_watches_nothing_and_keeps_no_password(world: World, caller: Caller) -> None:
    mirror.apply(told(world, caller))
    assert mirror.forget() == 1 and mirror.forget() == 0
    assert not Camera.objects.filter(Camera.wanted()).exists()
    assert (
        not Camera.objects.exclude(sealed_password="").exists()
        and not Voice.objects.exclude(sealed_password="").exists()
    )


def test_what_is_recorded_waits_under_the_portals_tokens(world: World, caller: Caller, settings: Any) -> None:
    mirror.apply(told(world, caller))
    token = caller.worker.site.cameras.get().lease.token
    mine, others = passage_record(world.door, make_key(1.0), token=99), passage_record(world.hall, make_key(1.0))
    outgoing.keep([mine, others])
    (path,) = outgoing.waiting(outgoing.root())
    (record,) = outgoing.read(path)
    assert record.body == mine.body | {"token": token}
    settings.PORTAL = ""
    outgoing.keep([mine])
    assert outgoing.waiting(outgoing.root()) == [path], "a portal keeps nothing for others"


def test_a_disk_that_takes_nothing_is_told_and_leaves_no_half_of_a_file(
    world: World, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.apply(told(world, caller))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        outgoing.keep([passage_record(world.door, make_key(1.0))])
    assert [each.name for each in outgoing.root().iterdir()] == [outgoing.TOKENS]
    assert not Reminder.objects.exists()
