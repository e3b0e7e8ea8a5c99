from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from cameras.reach import credentials
from cameras.reach.credentials import SealError, key_path, reseal, seal, unseal


@given(st.text(max_size=80))
def test_what_is_sealed_is_read_again_and_looks_like_nothing(text: str) -> None:
    sealed = seal(text)
    assert unseal(sealed) == text and (sealed == "" if not text else sealed.startswith("gAAAA"))
    assert len(text) < 4 or text not in sealed


def test_the_key_lies_apart_and_is_its_owners_alone(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    threads = [threading.Thread(target=seal, args=("x",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(key_path().read_bytes().splitlines()) == 1
    assert stat.S_IMODE(key_path().stat().st_mode) == 0o600
    assert [path.name for path in key_path().parent.iterdir()] == ["camera-passwords"]


def test_keys_are_changed_without_losing_a_password(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    sealed = seal("p@ss")
    old = key_path().read_bytes()
    key_path().write_bytes(Fernet.generate_key() + b"\n" + old)
    resealed = reseal(sealed)
    assert unseal(resealed) == unseal(sealed) == "p@ss"
    key_path().write_bytes(key_path().read_bytes().splitlines()[0] + b"\n")
    assert unseal(resealed) == "p@ss"
    with pytest.raises(SealError, match="Type the password again"):
        unseal(sealed)
    assert credentials.reseal("") == ""
