"""Whatever a device sends, it is understood, or refused in a way that its socket knows; nothing else ever comes out."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection import PictureError, decode_picture
from portal.devices import messages, pushing
from portal.devices.messages import Heard, Word
from portal.devices.pushing import FrameError
from tests.worlds import jpeg

REFUSED = (ValueError, TypeError, KeyError, RecursionError)  # what DoorConsumer.receive turns into 4400
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(["type", "word", "heard", "reminder", "why", "asleep", "closed", "played"])
PICTURE = jpeg(160, 90)


@settings(max_examples=400)
@given(
    st.text(max_size=60) | st.dictionaries(names, values | names, max_size=4).map(json.dumps) | values.map(json.dumps)
)
def test_any_message_is_a_word_or_is_refused(text: str) -> None:
    try:
        understood: Any = messages.decode(text)
    except REFUSED:
        return
    assert isinstance(understood, Word | Heard)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5_000, '"\\ud800"', "\0"])
def test_messages_made_to_break_a_parser_are_refused(text: str) -> None:
    with pytest.raises(REFUSED):
        messages.decode(text)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Any bytes, or a real picture of which something is changed, cut or doubled."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300)) if draw(st.booleans()) else b"\xff\xd8\xff" + draw(st.binary(max_size=300))
    data = bytearray(PICTURE)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(1, 400))
        match draw(st.sampled_from(["set", "cut", "double", "zero"])):
            case "set":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "zero":
                data[at : at + length] = bytes(min(length, len(data) - at))
    return bytes(data)


@settings(max_examples=300)
@given(frames())
def test_any_frame_is_checked_and_then_decoded_or_refused(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        pushing.check_frame(data)
        with contextlib.suppress(PictureError):
            image = decode_picture(data, "The frame")
            assert image.ndim == 3 and image.shape[0] * image.shape[1] <= pushing.MOST_PIXELS * 2
