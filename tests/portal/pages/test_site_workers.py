"""The page on which a site's managers make and revoke the keys of workers there."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.test import Client

from cameras.models import SiteWorker
from cameras.watching import leases
from cameras.watching.leases import WorkerState
from portal.models import AuditEntry, User
from portal.people import site_workers
from tests.worlds import World

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def test_a_manager_makes_a_key_that_is_shown_once_and_revokes_it(world: World, sign_in: SignIn) -> None:
    client, page = sign_in(world.alice), f"/sites/{world.here.pk}/workers/"
    assert "let a machine at the site do it" in re.sub(r"\s+", " ", client.get(page).content.decode())
    shown = unescape(client.post(page, {"name": "Mini"}).content.decode())
    (key,) = re.findall(r"make worker PORTAL=\S+ KEY=(worker_[\w-]+)", shown)
    found = site_workers.worker_of(key)
    assert found is not None and found.name == "Mini" and found.site.has_workers
    again = client.get(page).content.decode()
    assert key not in again and "waits to be started" in again
    assert not SiteWorker.objects.filter(key_hash__contains=key[7:20]).exists(), "only its hash is stored"
    leases.announce(WorkerState(found.worker_name, "a", 8, (world.here.pk,), (world.door.pk,)))
    assert "watches 1 camera, has room for 8" in re.sub(r"\s+", " ", client.get(page).content.decode())
    assert "Mini" in sign_in(world.root).get("/workers/").content.decode()
    client.post(f"/site-workers/{found.pk}/revoke/")
    assert site_workers.worker_of(key) is None
    client.get(page)  # which says once that it is done
    assert "Mini" not in client.get(page).content.decode()
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert actions.index("site-worker-added") < actions.index("site-worker-revoked")


def test_a_site_has_so_many_workers(world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_workers, "MOST", 1)
    client, page = sign_in(world.alice), f"/sites/{world.here.pk}/workers/"
    assert client.post(page, {"name": "One"}).status_code == 200
    answer = client.post(page, {"name": "Two"})
    assert answer.status_code == 422 and "Revoke one first" in answer.content.decode()


def test_without_a_name_it_says_what_to_do(world: World, sign_in: SignIn) -> None:
    answer = sign_in(world.alice).post(f"/sites/{world.here.pk}/workers/", {"name": " "})
    assert answer.status_code == 422 and not SiteWorker.objects.exists()
