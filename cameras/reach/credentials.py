"""Camera passwords at rest: sealed with a key that is kept apart from the database, in DATA_DIR/keys.

    sealed = seal("p@ss/w%rd")     "gAAAAAB…", Fernet (AES-128-CBC with HMAC-SHA256): goes into the row
    unseal(sealed)                 "p@ss/w%rd", where a worker opens the camera, and nowhere else

The key file holds one key per line. The first seals, all unseal: to change keys, add a new line at the top, run
`manage.py reseal`, and delete the old line. Workers on other machines need a copy of the file.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.translation import gettext as _

from cameras.errors import CameraError


class SealError(CameraError):
    """The sealed text cannot be read with any of the keys here."""

    permanent = True


def key_path() -> Path:
    return Path(settings.DATA_DIR) / "keys" / "camera-passwords"


def seal(text: str) -> str:
    """Seal `text` so that only someone with the key can read it; empty stays empty."""
    return _fernet().encrypt(text.encode()).decode() if text else ""


def unseal(sealed: str) -> str:
    """The text that was sealed; raises SealError, with a sentence for people, if no key here fits."""
    if not sealed:
        return ""
    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise SealError(
            _("The camera's password was sealed with a key that is missing here. Type the password again.")
        ) from error


def reseal(sealed: str) -> str:
    """Seal again with the first key."""
    return _fernet().rotate(sealed.encode()).decode() if sealed else ""


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(line) for line in _keys() if line.strip()])


def _keys() -> list[bytes]:
    path = key_path()
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        _make_key(path)
        return path.read_bytes().splitlines()


def _make_key(path: Path) -> None:
    """Create the first key, 0600. Two processes may do so at once: the one that links its file first wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(Fernet.generate_key() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()
