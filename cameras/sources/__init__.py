"""Where frames come from: each kind of camera is one file, and registers itself in `open_source`."""

from cameras.sources import clip as _clip  # noqa: F401  (registers itself)
from cameras.sources.base import Frame, Source, open_source

__all__ = ["Frame", "Source", "open_source"]
