"""What is rendered can be heard, in every language; eSpeak NG is real."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.container import InputContainer
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from portal.voice import phrases, speech
from portal.voice.speech import SpeechError
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _data(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def loudness(samples: speech.Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples[np.abs(samples) > 0.01]))))


@pytest.mark.parametrize("language", sorted(phrases.PHRASES))
def test_every_phrase_is_a_file_with_half_a_second_of_silence_in_front(language: str) -> None:
    for text in phrases.PHRASES[language].values():
        samples, rate_hz = speech.from_wav(speech.render(text, language).read_bytes())
        assert 1.0 < len(samples) / rate_hz < 9.0
        silent = int(speech.SILENCE_S * rate_hz)
        assert np.abs(samples[:silent]).max() == 0
        assert np.abs(samples[silent : silent + rate_hz // 2]).max() > 0.1, "it begins to speak then"


def test_what_nobody_said_for_long_is_forgotten_and_rendered_again_when_somebody_does() -> None:
    old, used = (speech.render(text, "en") for text in ("Nobody says this.", "Please put on a mask."))
    now = timezone.now()
    long_ago = (now - speech.KEPT_UNSAID - timedelta(hours=1)).timestamp()
    for path in (old, used):
        os.utime(path, (long_ago, long_ago))
    speech.render("Please put on a mask.", "en")
    assert speech.forget_unsaid(now) == 1
    assert used.is_file() and not old.exists()
    assert speech.render("Nobody says this.", "en") == old and old.stat().st_size > 10_000


def test_all_languages_are_equally_loud_and_sound_different() -> None:
    said = {code: speech.synthesizer().say(each["no_mask"], code) for code, each in phrases.PHRASES.items()}
    levels = {code: 20 * np.log10(loudness(samples)) for code, samples in said.items()}
    assert max(levels.values()) - min(levels.values()) < 2.0, levels  # dB; Hebrew is 11 dB quieter unadjusted
    assert min(levels.values()) > -22
    for one, other in combinations(said.values(), 2):
        length = min(len(one), len(other))
        assert not np.allclose(one[:length], other[:length], atol=0.05)


def test_a_sentence_is_read_by_its_own_language() -> None:
    """The same letters, read by two voices: the previous voice must not persist."""
    speaker = speech.synthesizer()
    text = "Masque Nation 1"
    french = len(speaker.say(text, "fr"))
    assert len(speaker.say(text, "de")) > 1.2 * french
    with pytest.raises(SpeechError, match="xx"):
        speaker.say(text, "xx")
    assert len(speaker.say(text, "fr")) == pytest.approx(french, rel=0.01)  # a voice has some noise in it


def test_what_was_rendered_is_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    path = speech.render("Hello", "en")
    monkeypatch.setattr(speech, "synthesizer", lambda: pytest.fail("it is there already"))
    assert speech.render("Hello", "en") == path
    assert [each.suffix for each in path.parent.iterdir()] == [".wav"]


def test_what_makes_no_sound_is_no_file() -> None:
    with pytest.raises(SpeechError, match="no sound"):
        speech.render(" ", "en")


FIRST_AT_ONCE = """
import os, sys, threading, django
django.setup()
from portal.voice import speech
lengths, start = [], threading.Barrier(4)
def say():
    start.wait()
    lengths.append(len(speech.render(f"Hello {threading.get_ident()}", "en").read_bytes()))
threads = [threading.Thread(target=say) for _ in range(4)]
[each.start() for each in threads]; [each.join() for each in threads]
print(min(lengths) > 30_000 and len(lengths) == 4)
"""


def test_four_threads_may_say_the_first_sentence_at_once(tmp_path: Path) -> None:
    """The library has one state per process, and crashes if two threads begin together."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "portal.settings", "DATA_DIR": str(tmp_path / "data")}
    for _try in range(3):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_AT_ONCE], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.stdout.strip() == "True", done.stderr


@given(st.integers(0, 2**32 - 1), st.integers(800, 2400), st.floats(0.001, 1.2), st.sampled_from([8000, 22050]))
def test_mu_law_is_what_telephones_decode(seed: int, length: int, level: float, rate_hz: int) -> None:
    """FFmpeg decodes it to what was encoded, within the coarseness of G.711 (a sixteenth of the level)."""
    samples = np.random.default_rng(seed).uniform(-level, level, length).astype(np.float32)
    coded = speech.to_mu_law(samples, rate_hz)
    wanted = np.clip(speech.resample(samples, rate_hz, speech.TELEPHONE_HZ), -1, 1)
    assert len(coded) == len(wanted) == round(len(samples) * 8000 / rate_hz)
    with av.open(io.BytesIO(coded), format="mulaw", options={"sample_rate": "8000"}) as container:
        assert isinstance(container, InputContainer)
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    decoded = np.concatenate(frames).astype(np.float32) / 32768
    assert np.all(np.abs(decoded - wanted) <= np.abs(wanted) / 16 + 0.001)
