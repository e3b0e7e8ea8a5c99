"""QR codes (ISO/IEC 18004), for a phone to scan from a page."""

from __future__ import annotations

import base64
import io

import segno


def qr_in_text(text: str) -> str:
    """A QR code made of block characters, for a terminal."""
    out = io.StringIO()
    segno.make(text, error="l").terminal(out, border=2, compact=True)
    return out.getvalue()


def qr_picture(text: str) -> str:
    """A QR code as a data: address."""
    out = io.BytesIO()
    segno.make(text, error="m").save(out, kind="png", scale=5, border=3, dark="#111", light="#fff")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
