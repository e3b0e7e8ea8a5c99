"""Pages, messages and stored sentences in eight languages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from gettext import GNUTranslations
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone, translation
from django.utils.translation.trans_real import translation as catalogue_of

from cameras.models import Camera, CameraLease, Outage
from portal.alerts.channels import mail
from portal.events import messages
from portal.live.consumer import language_of
from portal.models import Delivery, User, Violation
from portal.people.stored_words import in_own_language
from portal.voice.phrases import PHRASES
from tests.conftest import ROOT
from tests.html import squeezed
from tests.portal.people.test_access import TABLE, things_of
from tests.worlds import World, see

FOLDER = ROOT / "portal" / "locale"
OURS = [language for language, _name in settings.LANGUAGES if language != "en"]
HOLES = re.compile(r"%\(\w+\)[sd]|\{\w+\}")
# What people typed, and names of their own: they are in no language.
NAMES = re.compile(
    r"\b(Harbour House|Maple Tower|Front door|Hall|Phone|Alice|Bob|Vera|Charlie|Root|Stranger|Guest|Trouble|Nobody"
    r"|The day's figures|People without a mask|A|B|D|P|W|door\.mp4|hall\.mp4)\b"
)
PROPER = re.compile(
    r"^(Axis|Bosch|Dahua|Foscam|Hikvision|Hanwha|Reolink|Sony|Uniview|Vivotek|Shelly|go2rtc|i-PRO|Mobotix|TP-Link|UniFi"
    r"|ntfy|Gotify|Matrix|Microsoft|Slack|Telegram|Discord|Mattermost|GET|POST|PUT|SQLite|PostgreSQL|UTC|aizoo-260"
    r"|facemask.*|English|Deutsch|[Ff]rançais|[Ee]spañol|[Рр]усский|עברית|العربية|简体中文"
    r"|[\w./-]+@[\w.]+|[A-Z][\w]+/[\w/ +-]+|https?://.*)"
)

SPOKEN = set(PHRASES["en"].values())

pytestmark = pytest.mark.django_db(transaction=True)


def messages_of(language: str) -> dict[Any, str]:
    """Everything in a catalogue that the portal reads, as it is compiled."""
    with (FOLDER / translation.to_locale(language) / "LC_MESSAGES" / "django.mo").open("rb") as file:
        return dict(GNUTranslations(file)._catalog)  # type: ignore[attr-defined]


def gettext_tool(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("language", OURS)
def test_a_catalogue_is_complete_sure_and_compiled(language: str, tmp_path: Path) -> None:
    source = FOLDER / translation.to_locale(language) / "LC_MESSAGES" / "django.po"
    assert gettext_tool("msgattrib", "--untranslated", "--no-obsolete", str(source)) == ""
    assert gettext_tool("msgattrib", "--only-fuzzy", str(source)) == ""
    gettext_tool(
        "msgfmt", "--check", "-o", str(tmp_path / "now.mo"), str(source)
    )  # placeholders, plural forms, newlines
    with (tmp_path / "now.mo").open("rb") as file:
        compiled = dict(GNUTranslations(file)._catalog)  # type: ignore[attr-defined]
    assert compiled == messages_of(language), "run `make words`"


@pytest.mark.parametrize("language", OURS)
def test_what_scripts_fill_in_is_in_each_translation(language: str) -> None:
    for key, said in messages_of(language).items():
        if isinstance(key, str) and key:
            assert sorted(HOLES.findall(key)) == sorted(HOLES.findall(said)), (key, said)


def test_no_sentence_is_missing_from_the_catalogues(tmp_path: Path) -> None:
    """Collected once more, from a copy, there is nothing new."""
    for name in ("portal", "cameras", "detection"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "manage.py", tmp_path)
    subprocess.run([sys.executable, "manage.py", "makemessages", "-l", "de"], cwd=tmp_path, check=True)
    found = tmp_path / "portal" / "locale" / "de" / "LC_MESSAGES" / "django.po"
    assert gettext_tool("msgattrib", "--untranslated", "--no-obsolete", str(found)) == "", "run `make words`"
    assert gettext_tool("msgattrib", "--only-fuzzy", str(found)) == ""


@pytest.mark.parametrize("language", OURS)
def test_what_was_stored_in_english_is_said_in_the_readers_language(language: str) -> None:
    """Every sentence of the catalogue that has something to fill in is found again, with what was filled in."""
    values = {"seconds": 4, "count": 3, "status": 503}
    checked = 0
    with translation.override(language):
        for key, said in messages_of(language).items():
            if not isinstance(key, str) or len(key) < 40:
                continue
            if len(names := re.findall(r"%\((\w+)\)[sd]", key)) != 1:
                continue
            (name,) = names
            filled = {name: values.get(name, 7 if f"%({name})d" in key else "10.0.0.7")}
            assert in_own_language(key % filled) == said % filled, key
            checked += 1
        assert checked > 20
        two = "No picture comes. No worker is running. Ask the operator of this portal to start one."
        assert in_own_language(two) not in {"", two}, "one sentence after the other"
        assert in_own_language("What the camera itself said") == "What the camera itself said"


def test_pages_are_in_a_persons_language_or_their_browsers_or_english(
    world: World, sign_in: Callable[[User], Client]
) -> None:
    def language_and_direction(client: Client, wanted: str, address: str = "/profile/") -> tuple[str, str]:
        page = squeezed(client.get(address, headers={"accept-language": wanted}))
        found = re.search(r'<html lang="([\w-]+)" dir="(\w+)"', page)
        assert found is not None
        return found[1], found[2]

    assert language_and_direction(Client(), "ar,en;q=0.5", "/sign-in/") == ("ar", "rtl")
    assert language_and_direction(Client(), "tlh", "/sign-in/") == ("en", "ltr"), "a language that there is not"
    alice = sign_in(world.alice)
    assert language_and_direction(alice, "de-AT") == ("de", "ltr")
    assert alice.post("/profile/", {"name": "Alice", "language": "he", "theme": "system"}).status_code == 302
    assert language_and_direction(alice, "de") == ("he", "rtl"), "her own comes first"


def test_an_open_page_hears_states_and_labels_in_its_language(world: World) -> None:
    CameraLease.objects.filter(camera=world.door).update(state="offline", state_detail="No picture comes.")
    door = Camera.objects.select_related("lease").get(pk=world.door.pk)
    row = messages.with_names(Violation.objects.filter(pk=see(world.door).pk)).get()
    camera, violation = messages.camera(door), messages.violation(row)
    with translation.override("de"):
        told, seen = messages.worded(camera), messages.worded(violation)
    changed = {name for name in camera if camera[name] != told[name]}
    assert {"meaning", "remedy", "detail"} <= changed <= {"state_name", "meaning", "remedy", "detail"}
    assert {name for name in violation if violation[name] != seen[name]} == {"label_name", "status_name"}


def test_a_socket_speaks_the_language_of_its_page() -> None:
    def of(own: str, browser: str) -> str:
        return language_of({"user": User(language=own), "headers": [(b"accept-language", browser.encode())]})

    assert of("", "de-CH,de;q=0.9,en;q=0.5") == "de"
    assert of("fr", "de") == "fr"
    assert of("", "zh-CN") == "zh-hans"
    assert of("xx", "tlh,*;q=0.1") == "en"


class Texts(HTMLParser):
    """What people read or hear on a page."""

    SAID = ("alt", "title", "placeholder", "aria-label", "aria-description")
    NOT_SAID = ("script", "style", "svg", "code", "kbd", "q", "textarea")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within += tag in self.NOT_SAID
        is_words = tag == "template"
        self.found += [text for name, text in attrs if text and (name in self.SAID or is_words and "data-" in name)]

    def handle_endtag(self, tag: str) -> None:
        self._within -= tag in self.NOT_SAID

    def handle_data(self, data: str) -> None:
        if not self._within and data.strip():
            self.found.append(data.strip())


class Marked:
    """A catalogue that says each sentence in brackets."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def get(self, key: Any, otherwise: Any = None) -> Any:
        return f"⟦{key}⟧" if key and self._real.get(key) else otherwise

    def plural(self, key: str, count: int) -> str:
        self._real.plural(key, count)
        return f"⟦{key if count == 1 else key.replace('%(count)d', '%(count)d ')}⟧"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A language in which every sentence of a catalogue stands in brackets."""
    german = catalogue_of("de")
    monkeypatch.setattr(german, "_catalog", Marked(german._catalog))  # type: ignore[attr-defined]
    yield "de"


def unsaid(page: str) -> list[str]:
    """What a page says in no catalogue's words."""
    texts = Texts()
    texts.feed(re.sub(r"<kbd[^>]*>.*?</kbd>", "", page, flags=re.DOTALL))
    found = []
    for text in texts.found:
        rest = text
        while (shorter := re.sub(r"⟦[^⟦⟧]*⟧", "", rest)) != rest:
            rest = shorter
        rest = re.sub(r"⟦[^⟦⟧]*$", "", rest)  # the name of a kind of zone, cut from its description
        rest = NAMES.sub("", rest)
        rest = re.sub(r"\(?[A-Z]\w+/\w+\)?", "", rest)  # a time zone
        if re.search(r"[^\W\d_]{3,}", rest) and not PROPER.match(text) and text not in SPOKEN:
            found.append(text)
    return found


@pytest.mark.parametrize("who", ["alice", "root", ""])
def test_every_text_of_every_page_is_in_the_catalogues(
    who: str, world: World, sign_in: Callable[[User], Client], marked: str
) -> None:
    client = Client()
    if who:
        user: User = getattr(world, who)
        user.language = marked
        user.save()
        client = sign_in(user)
    things = things_of(world)
    left: dict[str, str] = {}
    for method, address, *_who in TABLE:
        if method != "GET" or address.startswith(("/admin/", "/audit/")):  # Django's own, and a record as it was
            continue
        answer = client.get(address.format(**things), headers={"accept-language": marked})
        if answer.status_code in {200, 403, 404} and "html" in answer.get("Content-Type", ""):
            left |= dict.fromkeys(unsaid(answer.content.decode()), address)
    assert not left, "\n".join(f"{text!r} at {address}" for text, address in left.items())


def test_a_week_begins_as_the_language_has_it(world: World, sign_in: Callable[[User], Client]) -> None:
    client = sign_in(world.alice)
    orders = {}
    for language in ("de", "ar"):
        User.objects.filter(pk=world.alice.pk).update(language=language)
        page = client.get(f"/sites/{world.here.pk}/").content.decode()
        orders[language] = [int(day) for day in re.findall(r'name="[\w-]*opens_(\d)"', page)]
    assert orders == {"de": [0, 1, 2, 3, 4, 5, 6], "ar": [6, 0, 1, 2, 3, 4, 5]}


def test_what_is_sent_to_somebody_is_in_the_language_they_read(
    world: World,
) -> None:
    """Their own, or else that of the browser in which they signed in last."""
    world.alice.set_password("a-Long-pass-4u")
    world.alice.save()
    client = Client()
    given = {"username": world.alice.email, "password": "a-Long-pass-4u"}
    assert client.post("/sign-in/", given, headers={"accept-language": "es-MX,en;q=0.5"}).status_code == 302
    outage = Outage.objects.create(camera=world.door, began_at=timezone.now(), reason="No picture comes.")
    delivery = Delivery.objects.create(
        site=world.here, camera=world.door, outage=outage, event="outage.began", about=str(outage.pk),
        channel="email", lane=f"email:{world.alice.pk}", receiver=world.alice,
    )  # fmt: skip

    def told() -> str:
        message = mail.compose([delivery], User.objects.get(pk=world.alice.pk), b"")
        return f"{message.subject} {message.body}"

    assert "no funciona" in told() and "No picture comes" not in told()
    User.objects.filter(pk=world.alice.pk).update(language="de")
    assert "ausgefallen" in told()
