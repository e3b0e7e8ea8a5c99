"""What can go wrong with a camera, named by what the caller does next.

    CameraError
    ├── AddressError      the address may not be opened, or leads nowhere; trying again will not help
    └── StreamError       the stream cannot be opened, or ended; `permanent` says whether trying again can help
        └── LoginError    the camera refused the login: further tries would make it lock the account

Their messages are for people: plain, translated, without passwords. Never put the text of a library's error into one:
an FFmpeg error contains the whole address.
"""

from __future__ import annotations

import copy
from typing import Self


class CameraError(Exception):
    """Any camera fault."""

    permanent = False

    def fresh(self) -> Self:
        """The same, as if it had not been raised: one that is kept would hold all that its traceback names, pictures
        too, and be held by it.
        """
        return copy.copy(self)


class AddressError(CameraError):
    """The address is refused by cameras/reach/addresses.py."""

    permanent = True


class StreamError(CameraError):
    """The stream cannot be opened or read."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class LoginError(StreamError):
    """The user or password is wrong or missing."""
