"""RTSP (RFC 2326), through a relay of ours on loopback."""

from cameras.sources.rtsp import relay as _relay  # noqa: F401  (it registers itself)
