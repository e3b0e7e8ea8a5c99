"""Where frames come from: each kind of camera is one file, and registers itself for `open_source`."""

from cameras.sources import clip as _clip  # noqa: F401  (each registers itself)
from cameras.sources import device as _device  # noqa: F401
from cameras.sources import http as _http  # noqa: F401
from cameras.sources import rtsp as _rtsp  # noqa: F401
from cameras.sources import usb as _usb  # noqa: F401
from cameras.sources.base import Frame, Opening, Source, StreamFacts, open_source

__all__ = ["Frame", "Opening", "Source", "StreamFacts", "open_source"]
