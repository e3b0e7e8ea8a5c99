"""Pages as a browser sees them."""

from __future__ import annotations

from typing import Any


def squeezed(answer: Any) -> str:
    """A response's HTML, each run of white space as one space: how a template is broken into lines does not matter."""
    return " ".join(answer.content.decode().split())
