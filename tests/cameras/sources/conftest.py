from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cameras.footage import lobby


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.CAMERA_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lobby(tmp_path_factory.mktemp("footage") / "lobby.mp4")


@pytest.fixture(scope="module")
def clip_h265(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lobby(tmp_path_factory.mktemp("footage") / "lobby.mp4", "libx265")
