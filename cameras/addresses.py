"""The one place that decides what a camera's address may open.

Worked example: a clip's address is the name of a file in DATA_DIR/clips; ``../secret-key`` and ``/etc/passwd``
are refused, and so is a link that leads out of the folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from cameras.errors import AddressError


def clips_folder() -> Path:
    """DATA_DIR/clips, made where it is missing."""
    folder = Path(settings.DATA_DIR) / "clips"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def clip_path(address: str) -> Path:
    """The file that a clip's address names; AddressError where it may not be opened or is not there."""
    folder = clips_folder().resolve()
    try:
        path = (folder / address).resolve()
    except (OSError, ValueError) as error:
        raise AddressError(_("This is no file name. Write the name of a file in DATA_DIR/clips.")) from error
    if not address or "\0" in address or not path.is_relative_to(folder) or path == folder:
        raise AddressError(_("Clips are read from DATA_DIR/clips only. Put the file there and write its name."))
    if not os.path.isfile(path):  # unlike Path.is_file, it answers for a name that is too long, too
        raise AddressError(_("There is no such clip. Put the file into DATA_DIR/clips."))
    return path
