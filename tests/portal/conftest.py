from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from portal.models import User
from tests.worlds import World, make_world


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """A page in another language leaves it active in its thread, until the next page."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def _storages(settings: Any, tmp_path: Path) -> None:
    """A folder of pictures per test; static files under their plain names, so that none need to be collected."""
    default = settings.STORAGES["default"]
    options = default["OPTIONS"] | {"location": str(tmp_path / "pictures")}
    static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {"default": default | {"OPTIONS": options}, "staticfiles": static}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # Argon2 is slow on purpose


@pytest.fixture
def world(db: None, redis: Any) -> World:
    return make_world()


@pytest.fixture
def sign_in() -> Callable[[User], Client]:
    from portal import urls  # noqa: F401 - Django loads it at the first request; the profile's receiver notes sign-ins

    def make(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return make
