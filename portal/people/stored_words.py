"""Sentences that were stored in English, as whoever reads them now has it: a camera's fault, why nothing was sent.

Workers write English, whoever looks: rows are read by many. The sentence is found again among those of the
catalogue, with what was filled in, and said in the reader's language; what is not found is shown as it was stored.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from django.utils.translation import get_language
from django.utils.translation.trans_real import translation

HOLE = re.compile(r"%\((\w+)\)[sd]")
LETTERS = re.compile(r"[^\W\d_]")
LEAST_LETTERS = 10  # beside what is filled in: "%(camera)s, %(site)s" would be anything
MOST_CHARS = 2000  # longer ones are no sentences of ours


def in_own_language(stored: str) -> str:
    """A stored text in the active language."""
    language = get_language() or "en"
    if not stored or language == "en" or len(stored) > MOST_CHARS:
        return stored
    return _said(language, stored) or stored


@lru_cache(maxsize=4096)
def _said(language: str, stored: str) -> str:
    """The sentence in this language; several, one after the other, if they are known. Empty if it is not known."""
    sentences, plain = _catalogue(language)
    if known := plain.get(stored):
        return known
    for pattern, said in sentences:
        if found := pattern.fullmatch(stored):
            return _filled(said, {name: _said(language, value) or value for name, value in found.groupdict().items()})
    for end in re.finditer(r"[.!?:] ", stored):
        first, rest = stored[: end.start() + 1], stored[end.end() :]
        if (begins := _said(language, first)) and (goes_on := _said(language, rest)):
            return f"{begins} {goes_on}"
    return ""


def _filled(sentence: str, values: dict[str, str]) -> str:
    return HOLE.sub(lambda hole: values[hole[1]], sentence).replace("%%", "%")


@lru_cache(maxsize=16)
def _catalogue(language: str) -> tuple[list[tuple[re.Pattern[str], str]], dict[str, str]]:
    """Sentences with something to fill in, the longest first; and those without."""
    catalog: Any = translation(language)._catalog  # type: ignore[attr-defined]  # Django has no other way to list them
    known = {key: said for key, said in catalog.items() if isinstance(key, str) and key and said}
    holed = [key for key in known if HOLE.search(key) and len(LETTERS.findall(HOLE.sub("", key))) >= LEAST_LETTERS]
    holed.sort(key=len, reverse=True)
    return [(_pattern(key), known[key]) for key in holed], {key: said for key, said in known.items() if "%(" not in key}


def _pattern(sentence: str) -> re.Pattern[str]:
    parts, at, named = [], 0, set()
    for hole in HOLE.finditer(sentence):
        parts.append(re.escape(sentence[at : hole.start()].replace("%%", "%")))
        name = hole[1]
        parts.append(f"(?P={name})" if name in named else f"(?P<{name}>.+?)")
        named.add(name)
        at = hole.end()
    return re.compile("".join([*parts, re.escape(sentence[at:].replace("%%", "%"))]), re.DOTALL)
