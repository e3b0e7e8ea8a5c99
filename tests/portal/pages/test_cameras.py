"""The camera pages: what is typed in is checked, kept, sealed, tested, undone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from cameras.models import Camera, CameraLease, Outage, ProbeRequest
from cameras.reach.addresses import clips_folder, parse_address
from cameras.reach.credentials import seal, unseal
from cameras.settings import read_settings, settings_of
from cameras.setup import probe
from cameras.setup.makes import makes
from cameras.watching import leases
from cameras.watching.leases import WorkerState
from portal.events import retention
from portal.models import User, Violation, Voice
from tests.conftest import DEMO_CLIPS
from tests.worlds import World, see

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
PASSWORD = "p@ss/w%rd"


@pytest.fixture
def alice(world: World, sign_in: SignIn) -> Client:
    return sign_in(world.alice)


def form(world: World, **given: object) -> dict[str, object]:
    typed = {"site": world.here.pk, "name": "Back door", "make": "rtsp", "address": "rtsp://192.168.1.20/live",
             "user": "admin", "password": PASSWORD, "transport": "tcp", "view": "320",
             "analyses_per_second": "5"}  # fmt: skip
    return typed | given


def test_a_camera_is_added_and_its_password_is_sealed(world: World, alice: Client) -> None:
    answer = alice.post("/cameras/add/", form(world), follow=True)
    camera = Camera.objects.get(name="Back door")
    assert "Back door is saved" in answer.content.decode()
    assert (camera.kind, camera.address, camera.user) == ("rtsp", "rtsp://192.168.1.20/live", "admin")
    assert PASSWORD not in camera.sealed_password and unseal(camera.sealed_password) == PASSWORD
    for page in ("/cameras/", f"/cameras/{camera.pk}/", "/", "/audit/", "/audit.csv"):
        text = alice.get(page).getvalue().decode()
        assert PASSWORD not in text and camera.sealed_password not in text


@pytest.mark.parametrize("key", sorted(makes()))
def test_each_make_gives_addresses_that_can_be_opened(key: str) -> None:
    make = makes()[key]
    for stream in ("main", "sub"):
        address = make.address("192.168.1.20", stream)
        found = parse_address(address, ("rtsp",) if make.kind == "rtsp" else ("http", "https"))
        assert found.host == "192.168.1.20" and "{" not in address
        assert parse_address(make.address("cam.lan:8000", stream), ("rtsp", "http")).port == 8000


def test_a_make_composes_the_address(world: World, alice: Client) -> None:
    alice.post("/cameras/add/", form(world, make="hikvision", host="192.168.1.9", stream="sub", address=""))
    assert Camera.objects.get(name="Back door").address == "rtsp://192.168.1.9:554/Streaming/Channels/102"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"address": "rtsp://192.168.1.20/a b"}, "There is a space in the address"),
        ({"address": "file:///etc/passwd"}, "must begin with rtsp://"),
        ({"address": "concat:a|b"}, "must begin with rtsp://"),
        ({"address": "subfile,,start,0,end,9,,:x"}, "must begin with rtsp://"),
        ({"address": ""}, "Enter the camera&#x27;s address"),
        ({"make": "axis", "host": ""}, "Enter the camera&#x27;s IP address or name"),
        ({"make": "axis", "host": "rtsp://192.168.1.9/"}, "Enter only the host here"),
        ({"make": "clip", "address": "../secret-key"}, "DATA_DIR/clips"),
        ({"make": "usb", "address": "/dev/sda"}, "/dev/video0"),
        ({"name": "Front door"}, "There is already a camera with this name"),
        ({"name": ""}, "This field is required"),
        ({"make": "nonsense"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field_and_nothing_typed_is_lost(
    world: World, alice: Client, change: dict[str, str], says: str
) -> None:
    answer = alice.post("/cameras/add/", form(world, **change))
    page = answer.content.decode()
    assert answer.status_code == 422 and says in page
    assert 'value="admin"' in page and PASSWORD not in page
    assert Camera.objects.count() == 2


def test_a_login_in_the_address_moves_into_its_fields(world: World, alice: Client) -> None:
    pasted = f"rtsp://root:{PASSWORD}@192.168.1.20/live"
    alice.post("/cameras/add/", form(world, address=pasted, user="", password=""))
    camera = Camera.objects.get(name="Back door")
    assert (camera.address, camera.user) == ("rtsp://192.168.1.20/live", "root")
    assert unseal(camera.sealed_password) == PASSWORD
    page = alice.post("/cameras/add/", form(world, address=pasted, user="", password="", name="")).content.decode()
    assert "moved into its own fields" in page and PASSWORD not in page and "rtsp://192.168.1.20/live" in page


@pytest.mark.parametrize("field", ["user", "password"])
@pytest.mark.parametrize("character", ["\r", "\n", "\x7f"])
def test_a_login_with_a_line_break_is_refused(world: World, alice: Client, field: str, character: str) -> None:
    """It would end a header on its way to the camera."""
    page = alice.post("/cameras/add/", form(world, **{field: f"a{character}b"}))
    assert page.status_code == 422 and "line break" in page.content.decode()
    escaped = f"rtsp://root:a%{ord(character):02X}b@192.168.1.20/live"
    assert alice.post("/cameras/add/", form(world, address=escaped, user="", password="")).status_code == 422
    assert not Camera.objects.filter(name="Back door").exists()


def test_where_a_pasted_password_ends_must_be_clear(world: World, alice: Client) -> None:
    page = alice.post("/cameras/add/", form(world, address="rtsp://root:p@ss.w/x@cam.lan/live", user="", password=""))
    assert page.status_code == 422 and "own fields" in page.content.decode()


def test_transport_is_automatic_unless_chosen(world: World, alice: Client) -> None:
    assert Camera._meta.get_field("transport").default == Camera.Transport.AUTO
    assert '<option value="auto" selected>' in alice.get("/cameras/add/").content.decode()


def test_an_edit_is_a_new_version_and_keeps_a_password_that_is_not_typed_again(world: World, alice: Client) -> None:
    alice.post("/cameras/add/", form(world))
    camera = Camera.objects.get(name="Back door")
    page = alice.get(f"/cameras/{camera.pk}/").content.decode()
    assert "never shown" in page and PASSWORD not in page
    version = re.search(r'name="version" value="(\d+)"', page)
    assert version
    alice.post(f"/cameras/{camera.pk}/", form(world, password="", view="512", version=version[1]))
    camera.refresh_from_db()
    assert (camera.version, camera.view, unseal(camera.sealed_password)) == (2, 512, PASSWORD)
    answer = alice.post(f"/cameras/{camera.pk}/", form(world, view="320", version=version[1]))
    assert answer.status_code == 422 and "Somebody changed this camera meanwhile" in answer.content.decode()


def test_without_a_user_no_password_is_kept(world: World, alice: Client) -> None:
    alice.post("/cameras/add/", form(world))
    camera = Camera.objects.get(name="Back door")
    alice.post(f"/cameras/{camera.pk}/", form(world, user="", password=""))
    camera.refresh_from_db()
    assert camera.sealed_password == ""


def test_a_camera_stays_at_its_site(world: World, sign_in: SignIn) -> None:
    sign_in(world.root).post(f"/cameras/{world.door.pk}/", form(world, site=world.there.pk, make="rtsp"))
    world.door.refresh_from_db()
    assert world.door.site == world.here and world.door.name == "Back door"


def test_a_copy_is_paused_and_has_the_password(world: World, alice: Client) -> None:
    alice.post("/cameras/add/", form(world))
    camera = Camera.objects.get(name="Back door")
    alice.post(f"/cameras/{camera.pk}/duplicate/")
    alice.post(f"/cameras/{camera.pk}/duplicate/")
    copies = Camera.objects.filter(name__startswith="Back door ").order_by("name")
    assert [copy.name for copy in copies] == ["Back door 2", "Back door 3"]
    assert all(copy.paused and unseal(copy.sealed_password) == PASSWORD for copy in copies)


def test_a_deleted_camera_is_gone_and_can_be_brought_back(world: World, alice: Client) -> None:
    see(world.door)
    page = alice.post(f"/cameras/{world.door.pk}/delete/", follow=True).content.decode()
    assert f'action="/cameras/{world.door.pk}/restore/"' in page and "What it saw stays listed" in page
    assert "Front door" not in alice.get("/cameras/").content.decode().split("</header>")[1].split("<table")[-1][500:]
    assert alice.get(f"/cameras/{world.door.pk}/").status_code == 404
    assert "Front door" in alice.get("/violations/").content.decode(), "what it saw stays"
    assert [wanted.camera_id for wanted in leases.wanted_cameras()] == [world.hall.pk]
    assert read_settings(world.door.pk, 1, "north") is None, "nobody watches it any more"
    alice.post(f"/cameras/{world.door.pk}/restore/")
    assert "Front door" in alice.get("/cameras/").content.decode()
    assert read_settings(world.door.pk, 1, "north") is not None


def test_a_deleted_camera_gives_its_name_free(world: World, alice: Client) -> None:
    alice.post(f"/cameras/{world.door.pk}/delete/")
    alice.post("/cameras/add/", form(world, name="Front door"))
    assert Camera.objects.filter(name="Front door").count() == 2
    page = alice.post(f"/cameras/{world.door.pk}/restore/", follow=True).content.decode()
    assert "There is another Front door now" in page


def test_retention_forgets_the_password_then_the_camera(world: World, alice: Client, settings: Any) -> None:
    alice.post("/cameras/add/", form(world))
    seen, unseen = world.door, Camera.objects.get(name="Back door")
    see(seen)
    Voice.objects.create(camera=seen, output="call", user="admin", sealed_password="sealed")
    for camera in (seen, unseen):
        alice.post(f"/cameras/{camera.pk}/delete/")
    now = Camera.objects.get(pk=seen.pk).deleted_at
    assert now is not None
    assert retention.forget_deleted(now) == 0
    retention.forget_deleted(now + 2 * retention.UNDO_AGE)
    assert not Camera.objects.filter(pk=unseen.pk).exists(), "it saw nobody: it can go"
    assert Camera.objects.get(pk=seen.pk).sealed_password == "" and Violation.objects.count() == 1
    assert Voice.objects.get(camera=seen).sealed_password == ""


def test_pause_and_resume_can_be_undone(world: World, alice: Client) -> None:
    page = alice.post(f"/cameras/{world.door.pk}/pause/", follow=True).content.decode()
    assert f'action="/cameras/{world.door.pk}/resume/"' in page and "Resume" in page
    alice.post(f"/cameras/{world.door.pk}/resume/")
    world.door.refresh_from_db()
    assert not world.door.paused


def test_the_list_costs_the_same_for_one_camera_and_for_thirty(
    world: World, alice: Client, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def cost(path: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert alice.get(path).status_code == 200
        return len(queries)

    pages = ("/cameras/", "/sites/", "/people/", "/audit/")
    few = [cost(page) for page in pages]
    for number in range(30):
        camera = Camera.objects.create(site=world.here, name=f"Camera {number}", address="x.mp4")
        CameraLease.objects.create(camera=camera)
        User.objects.create_user(f"u{number}@example.org", name="U").memberships.create(site=world.here, role="viewer")
    assert [cost(page) for page in pages] == few and max(few) <= 16


def test_outages_are_listed_with_their_reason(world: World, alice: Client) -> None:
    lease = CameraLease.objects.get(camera=world.door)
    began = lease.taken_at
    assert began is not None
    Outage.objects.create(camera=world.door, began_at=began, reason="Nothing answers there.")
    page = alice.get(f"/cameras/{world.door.pk}/").content.decode()
    assert "still offline" in page and "Nothing answers there." in page


# -- the test before saving -----------------------------------------------------------------------------------------


@pytest.fixture
def clip(settings: Any, tmp_path: Path) -> dict[str, str]:
    settings.DATA_DIR = tmp_path
    shutil.copy(DEMO_CLIPS / "harbour-house.mp4", clips_folder() / "x.mp4")
    return {"make": "clip", "address": "x.mp4"}


def test_a_test_without_a_worker_says_so_at_once(world: World, alice: Client, clip: dict[str, str]) -> None:
    answer = alice.post("/cameras/test/", form(world, **clip))
    assert answer.status_code == 202
    page = alice.get(answer.json()["report"])
    assert page["X-Done"] == "1" and "No worker serves this site now" in page.content.decode()


def test_a_test_goes_to_a_worker_that_serves_the_site_by_its_number_alone(
    world: World, alice: Client, clip: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr("cameras.tasks.send", lambda *given: sent.append(given))
    leases.announce(WorkerState("elsewhere", "1", 8, (world.there.pk,)))
    leases.announce(WorkerState("busy", "1", 2, (world.here.pk,), watching=(1, 2)))
    leases.announce(WorkerState("idle", "1", 2, (world.here.pk,)))
    answer = alice.post("/cameras/test/", form(world, **clip, user="admin"))
    asked = ProbeRequest.objects.get()
    assert sent == [("cameras.tasks.probe_camera", (str(asked.pk),), "probes.idle")]
    assert PASSWORD not in json.dumps(sent) + asked.sealed
    page = alice.get(answer.json()["report"])
    assert page["X-Done"] == "0" and page.content.decode().count("waiting") >= 6


def test_a_test_of_a_camera_that_is_there_uses_the_password_that_is_kept(
    world: World, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[probe.Typed] = []
    real = probe.ask

    def ask(site: int, who: int, typed: probe.Typed) -> ProbeRequest:
        asked.append(typed)
        return real(site, who, typed)

    monkeypatch.setattr(probe, "ask", ask)
    alice.post("/cameras/add/", form(world))
    camera = Camera.objects.get(name="Back door")
    alice.post("/cameras/test/", form(world, password="", camera=camera.pk))
    assert asked[0].place.password == PASSWORD
    answer = alice.post("/cameras/test/", form(world, password="", camera=camera.pk, address="rtsp://203.0.113.7/x"))
    assert answer.status_code == 422 and "Type the password again" in answer.json()["errors"]["password"]
    assert len(asked) == 1, "a kept password goes only to the host for which it was typed"


def test_what_is_wrong_with_the_form_is_said_without_a_test(world: World, alice: Client) -> None:
    answer = alice.post("/cameras/test/", form(world, address="file:///etc/passwd", name=""))
    assert answer.status_code == 422 and "must begin with" in answer.json()["errors"]["address"]
    assert not ProbeRequest.objects.exists()


def test_ten_tests_a_minute_a_person(world: World, sign_in: SignIn, clip: dict[str, str]) -> None:
    alice = sign_in(world.alice)
    answers = [alice.post("/cameras/test/", form(world, **clip)) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [202] * 10 + [429]
    assert "Wait a minute" in answers[-1].json()["errors"]["__all__"]
    root = sign_in(world.root)
    assert root.post("/cameras/test/", form(world, **clip)).status_code == 202, "another person has ten of her own"


def test_keys_are_changed_by_a_command(world: World, alice: Client, settings: Any, tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    from cameras.reach.credentials import key_path

    settings.DATA_DIR = tmp_path
    alice.post("/cameras/add/", form(world))
    before = Camera.objects.get(name="Back door").sealed_password
    Voice.objects.create(camera=world.door, output="call", user="admin", sealed_password=seal("p@ss"))
    key_path().write_bytes(Fernet.generate_key() + b"\n" + key_path().read_bytes())
    call_command("reseal")
    key_path().write_bytes(key_path().read_bytes().partition(b"\n")[0])  # the old key is removed
    assert unseal(Voice.objects.get(camera=world.door).sealed_password) == "p@ss"
    after = Camera.objects.get(name="Back door").sealed_password
    assert after != before and unseal(after) == PASSWORD


@given(st.text(max_size=40), st.sampled_from([*makes(), "rtsp", "http", "usb", "clip"]))
def test_any_host_gives_an_address_or_an_error(text: str, key: str) -> None:
    from portal.pages.camera_form import HOST

    if key in makes() and HOST.fullmatch(text):
        address = makes()[key].address(text, "main")
        assert text in address


def test_a_camera_is_watched_with_the_model_and_the_size_that_were_chosen(world: World, alice: Client) -> None:
    alice.post("/cameras/add/", form(world, model="aizoo-260", view="512"))
    camera = Camera.objects.get(name="Back door")
    settings_ = settings_of(camera)
    assert (settings_.model, settings_.input_size) == ("aizoo-260", 512)
    page = alice.post("/cameras/add/", form(world, name="Other", model="../secret-key")).content.decode()
    assert "Select a valid choice" in page
