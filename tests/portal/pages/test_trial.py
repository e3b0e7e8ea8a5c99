"""/try: who may open it, and what it is given."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.test import Client

from detection import read_manifest
from tests.worlds import World

pytestmark = pytest.mark.django_db
PATHS = ("/try/", "/try/model.json", f"/try/{read_manifest().sha256}.onnx")


@pytest.mark.parametrize(
    ("allowed", "guest", "signed_in"), [("everybody", 200, 200), ("people", 302, 200), ("nobody", 404, 404)]
)
def test_it_is_open_to_whom_the_operator_wants(
    world: World, sign_in: Any, settings: Any, allowed: str, guest: int, signed_in: int
) -> None:
    settings.TRY = allowed
    for path in PATHS:
        assert (Client().get(path).status_code, sign_in(world.vera).get(path).status_code) == (guest, signed_in), path


def test_it_gets_the_default_model_as_it_is(world: World) -> None:
    manifest = Client().get("/try/model.json").json()
    model = Client().get(f"/try/{manifest['sha256']}.onnx").content
    assert hashlib.sha256(model).hexdigest() == manifest["sha256"] and "path" not in manifest
    assert Client().get(f"/try/{'0' * 64}.onnx").status_code == 404


def test_webassembly_is_allowed_there_alone(world: World) -> None:
    assert "'wasm-unsafe-eval'" in Client().get("/try/")["Content-Security-Policy"]
    for path in ("/sign-in/", "/pair/", "/door/"):
        assert "wasm" not in Client().get(path)["Content-Security-Policy"]
