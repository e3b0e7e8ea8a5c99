"""A sentence as sound, by eSpeak NG: rendered once, then read from DATA_DIR/voice.

    path = render("Please put on a mask.", "en")      a WAV file: 16 bit, mono, 22,050 Hz

Half a second of silence comes first, for amplifiers and cameras that swallow the beginning, and all languages are made
equally loud. The library comes with the wheel espeakng-loader; without it, the system's libespeak-ng is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import hashlib
import io
import os
import tempfile
import threading
import time
import wave
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # mono, -1 to 1

SILENCE_S = 0.5
LOUDNESS = 0.14  # root mean square of the spoken parts, relative to 1: -17 dB
PEAK = 0.95
WORDS_A_MINUTE = 155
RENDERED_AS = "1"  # change it when the same words would sound different: old files are then not read
VOICES = {"en": "en-us", "zh": "cmn", "es": "es", "fr": "fr", "de": "de", "he": "he", "ar": "ar", "ru": "ru"}
TELEPHONE_HZ = 8000
KEPT_UNSAID = timedelta(days=90)  # a sentence not said for this long is rendered again if needed

_AUDIO_OUTPUT_SYNCHRONOUS = 2  # speak_lib.h: espeak_AUDIO_OUTPUT
_CHARS_UTF8 = 1
_RATE = 1  # espeak_PARAMETER
_NO_EXIT = 0x8000
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class SpeechError(Exception):
    """Nothing can be rendered here; the text says what is missing."""


class Synthesizer:
    """eSpeak NG in this process. It has one voice at a time, and therefore one sentence at a time."""

    def __init__(self) -> None:
        """Raises SpeechError if the library is missing."""
        self._library, data = _load()
        self._turn = threading.Lock()
        self._heard: list[NDArray[np.int16]] = []
        self._keep = _Callback(self._hear)  # the library keeps a pointer to it
        self.rate_hz = int(self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, _NO_EXIT))
        if self.rate_hz <= 0:
            raise SpeechError("eSpeak NG finds no voices.")
        self._library.espeak_SetSynthCallback(self._keep)

    def _hear(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
        return 0

    def say(self, text: str, language: str) -> Samples:
        """A sentence as samples at `rate_hz`, as loud as every other. Raises SpeechError for an unknown language."""
        data = text.encode().replace(b"\0", b" ") + b"\0"
        with self._turn:
            # after an unknown voice the previous one stays set, and would read the sentence
            if language not in VOICES or self._library.espeak_SetVoiceByName(VOICES[language].encode()) != 0:
                raise SpeechError(f"eSpeak NG has no voice for {language}.")
            self._library.espeak_SetParameter(_RATE, WORDS_A_MINUTE, 0)
            self._heard = []
            failed = self._library.espeak_Synth(data, len(data), 0, 0, 0, _CHARS_UTF8, None, None)
            self._library.espeak_Synchronize()
            heard = np.concatenate(self._heard or [np.zeros(0, np.int16)])
        if failed or not heard.any():
            raise SpeechError(f"eSpeak NG makes no sound of “{text}”.")
        return as_loud_as_all(heard.astype(np.float32) / np.float32(32768))


def _load() -> tuple[ctypes.CDLL, bytes | None]:
    """The library, and where its voices are."""
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
        return _declared(library), str(Path(espeakng_loader.get_data_path()).parent).encode()
    name = ctypes.util.find_library("espeak-ng")
    if not name:
        raise SpeechError("eSpeak NG is not installed. Install the package espeakng-loader, or the system's espeak-ng.")
    return _declared(ctypes.CDLL(name)), None


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_SetSynthCallback.argtypes = [_Callback]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
        ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    return library


def as_loud_as_all(samples: Samples) -> Samples:
    """Scaled so that the spoken parts have LOUDNESS; peaks stay below PEAK."""
    speaking = np.abs(samples) > 0.01
    if not speaking.any():
        return samples
    scaled = samples * (LOUDNESS / float(np.sqrt(np.mean(np.square(samples[speaking])))))
    return np.asarray(np.tanh(scaled / PEAK) * PEAK, dtype=np.float32)  # peaks above it are rounded off, not clipped


_loading = threading.Lock()
_loaded: list[Synthesizer] = []


def synthesizer() -> Synthesizer:
    """This process's synthesizer, loaded for the first sentence: only once, as it holds the library's only state."""
    with _loading:
        if not _loaded:
            _loaded.append(Synthesizer())
        return _loaded[0]


# -- files ------------------------------------------------------------------------------------------------------------


def render(text: str, language: str) -> Path:
    """The sentence as a WAV file; raises SpeechError, and OSError if it cannot be stored."""
    folder = _folder()
    path = folder / f"{hashlib.sha256(f'{RENDERED_AS} {language} {text}'.encode()).hexdigest()}.wav"
    if path.is_file():
        with contextlib.suppress(OSError):  # it is said even if this cannot be noted
            if time.time() - path.stat().st_mtime > 24 * 3600:  # a file's time is the day it was last said
                os.utime(path)
        return path
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    speaker = synthesizer()
    silence = np.zeros(int(SILENCE_S * speaker.rate_hz), np.float32)
    data = to_wav(np.concatenate([silence, speaker.say(text, language)]), speaker.rate_hz)
    handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(name, path)  # readers find the whole file, or nothing
    return path


def forget_unsaid(now: datetime) -> int:
    """Delete files not said for KEPT_UNSAID, and what an interrupted rendering left; returns how many there were."""
    count = 0
    for path in _folder().glob("*.*"):
        with contextlib.suppress(OSError):  # another process was faster
            if now.timestamp() - path.stat().st_mtime > KEPT_UNSAID.total_seconds():
                path.unlink()
                count += 1
    return count


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "voice"


def to_wav(samples: Samples, rate_hz: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def from_wav(data: bytes) -> tuple[Samples, int]:
    """The samples and rate of a file made by `to_wav`."""
    with wave.open(io.BytesIO(data)) as file:
        frames = file.readframes(file.getnframes())
        return np.frombuffer(frames, "<i2").astype(np.float32) / np.float32(32768), file.getframerate()


def to_mu_law(samples: Samples, rate_hz: int) -> bytes:
    """As telephones and cameras use it: G.711 mu-law (ITU-T G.711), 8,000 bytes a second."""
    linear = np.clip(resample(samples, rate_hz, TELEPHONE_HZ), -1, 1) * 32767
    magnitude = np.minimum(np.abs(linear).astype(np.int32), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(linear < 0, 0x80, 0)
    return bytes((~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8))


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Band-limited, over the whole sentence at once: what is above half of the lower rate is removed."""
    if not len(samples):
        return samples
    count = round(len(samples) * to_hz / from_hz)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return np.asarray(np.fft.irfft(spectrum, count) * (count / len(samples)), dtype=np.float32)
