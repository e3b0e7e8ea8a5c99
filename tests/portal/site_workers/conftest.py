"""A worker of the first world's site, as it calls the portal, without a network in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from cameras.models import Camera, CameraLease, SiteWorker
from cameras.watching import leases
from portal.people import site_workers
from tests.worlds import World


@dataclass
class Caller:
    """Calls the portal with a worker's key."""

    worker: SiteWorker
    key: str
    client: Client = field(default_factory=Client)
    beat: int = 0

    def post(self, path: str, body: Any = b"", kind: str = "application/octet-stream", **query: Any) -> Any:
        address = f"/api/v1/site-worker{path}"
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.client.post(address, body, content_type=kind, headers=headers, query_params=query)

    def send(self, path: str, **body: Any) -> Any:
        return self.post(path, body, "application/json")

    def round(self, **told: Any) -> Any:
        self.beat += 1
        base = {"instance": "first", "version": "1", "beat": self.beat, "capacity": 8}
        return self.send("/round", **base | told)

    def hold(self, camera: Camera) -> int:
        """Be given a camera, as by the reconciler; returns its token."""
        lease = CameraLease.objects.get(camera=camera)
        token = leases.take(camera.pk, lease.token, self.worker.worker_name)
        assert token is not None
        return token


@pytest.fixture(autouse=True)
def _own_folder(settings: Any, tmp_path: Path) -> None:
    """What is refused is kept there."""
    settings.DATA_DIR = tmp_path


@pytest.fixture
def caller_at(world: World) -> Callable[..., Caller]:
    return lambda site, name="Mini": Caller(*site_workers.make(site, name))


@pytest.fixture
def caller(world: World, caller_at: Callable[..., Caller]) -> Caller:
    return caller_at(world.here)
