"""The door speaks, and nothing else does: real browsers, real sound, a real person who puts a mask on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import gallery
from tests.browser.test_devices import make_link, pair
from tests.portal_process import PortalProcess, python_in, wait_for

Visit = Callable[..., Page]

# The loudest moment of what a page plays: the root mean square over some 50 ms, where 1 is full scale. It listens to a
# copy of the sound: the page plays as it would without it.
MEASURE = """
window.loudest = 0;
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function (...given) {
  const isVoice = /voice/.test(this.src);
  return play.apply(this, given).then(() => (isVoice ? listenTo(this) : null));
};
function listenTo(audio) {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 2048 });
  context.createMediaStreamSource(audio.captureStream()).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const level = Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
    window.loudest = Math.max(window.loudest, level);
  }, 30);
  audio.addEventListener("ended", () => { clearInterval(timer); context.close(); }, { once: true });
}
"""
# Every way in which a page could make a sound.
LISTEN = """
window.sounded = [];
const note = (what) => window.sounded.push(what);
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function (...given) { note("play"); return play.apply(this, given); };
for (const name of ["AudioContext", "webkitAudioContext", "OfflineAudioContext", "Audio", "SpeechSynthesisUtterance"]) {
  const made = window[name];
  if (made) window[name] = new Proxy(made, { construct(target, given) { note(name); return new target(...given); } });
}
const speak = speechSynthesis.speak;
speechSynthesis.speak = function (...given) { note("speak"); return speak.apply(this, given); };
"""
SAID = """
import json
from portal.models import Reminder
rows = Reminder.objects.filter(camera__name=%r).order_by("decided_at")
print(json.dumps([{"step": row.step, "why": row.why_not, "violation": str(row.violation_id or ""), "text": row.text,
                   "played_s": (row.played_at - row.sent_at).total_seconds() if row.played_at and row.sent_at else 0,
                   "sent_s": (row.sent_at - row.violation.started_at).total_seconds()
                             if row.sent_at and row.violation else 0,
                   "masked": bool(row.violation and row.violation.masked_at)} for row in rows]))
"""


def said_at(portal: PortalProcess, camera: str) -> list[dict[str, Any]]:
    return list(json.loads(python_in(portal, SAID % camera)))


def title_changed(tab: Page, before: str) -> bool:
    return tab.title() != before


def was_played(portal: PortalProcess, camera: str, times: int) -> bool:
    return len([row for row in said_at(portal, camera) if row["played_s"] > 0]) >= times


@pytest.fixture
def phone(masking_browser: Browser, portal: PortalProcess) -> Iterator[Page]:
    context = masking_browser.new_context(base_url=portal.address, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.add_init_script(MEASURE)
    yield page
    context.close()


def switch_sound_on(page: Page) -> None:
    page.get_by_role("button", name="Switch the sound on").click()
    expect(page.locator("[data-sound-text]")).to_have_text("The sound is on.")


def reload_untouched(page: Page) -> None:
    """Reload it, and tell from its socket alone when it is listening: asking the page itself would count as a touch."""
    with page.expect_websocket() as socket:
        page.reload()
    with socket.value.expect_event("framereceived"):
        pass


def pair_loudspeaker(portal: PortalProcess, manager: Page, speaker: Page, camera: str) -> None:
    manager.goto("/cameras/")
    manager.get_by_role("link", name=camera, exact=True).first.click()
    manager.get_by_role("link", name="Give it a voice").click()
    manager.get_by_role("button", name="Pair a loudspeaker").click()
    speaker.goto(manager.get_by_label("Link").input_value())
    expect(speaker.locator("[data-why]")).to_contain_text(f"to speak at the camera “{camera}”")
    speaker.get_by_role("button", name="Use this device as a loudspeaker").click()
    expect(speaker.locator("[data-state=online], [data-state=waiting]")).to_be_visible(timeout=10_000)


def test_a_loudspeaker_page_needs_one_tap_and_the_managers_pages_never_sound(
    portal: PortalProcess, visit: Visit
) -> None:
    """A page at the door of a camera that has no speaker; while it speaks, all of a manager's pages stay silent."""
    manager, speaker = visit(portal, portal.login()), visit(portal)
    speaker.add_init_script(MEASURE)
    camera = python_in(portal, "from cameras.models import *; print(Camera.objects.order_by('pk')[0].name)").strip()
    pair_loudspeaker(portal, manager, speaker, camera)

    manager.goto("/cameras/")
    manager.get_by_role("link", name=camera, exact=True).first.click()
    python_in(portal, "from cameras.models import *; Camera.objects.update(paused=True)")
    reload_untouched(speaker)
    play = manager.get_by_role("button", name="Play it now")
    newest = manager.locator("[data-said] li", has_text="Played by hand").first

    def press() -> bool:
        """Whether it got through: the server subscribes for the page a tenth of a second after its first message."""
        play.click()
        expect(play).to_be_enabled(timeout=20_000)
        return "No page is open" not in newest.inner_text()

    wait_for(press, 20, "a page at the door")
    expect(newest).to_contain_text("The sound is off at the door")
    expect(speaker.locator("[data-sound-text]")).to_contain_text("The sound is off")
    expect(speaker.locator("[data-last]")).to_contain_text("the sound is off")
    switch_sound_on(speaker)
    play.click()
    expect(newest).to_contain_text("Played by hand: Played", timeout=15_000)
    assert speaker.evaluate("window.loudest") > 0.05
    speaker.reload()
    trials = [row for row in said_at(portal, camera) if row["step"] == "trial"]
    speaker.get_by_role("button", name="Switch the sound on").click()
    play.click()  # a reminder that comes while the chime is playing waits for its end

    def heard() -> bool:
        rows = [row for row in said_at(portal, camera) if row["step"] == "trial"][len(trials) :]
        if rows and rows[-1]["why"] == "nobody":
            play.click()  # the server had not subscribed for the page yet
        return any(row["played_s"] > 0 for row in rows)

    wait_for(heard, 20, "its end")
    world = gallery.make_world(portal)
    context = manager.context
    context.add_init_script(LISTEN)
    paths = [shot.path for shot in gallery.SHOTS if shot.who == "olivia" and shot.act is gallery.nothing]
    needs = {"violation": python_in(portal, "from portal.models import *; print(Violation.objects.first().pk)").strip()}
    tabs = {}
    for path in dict.fromkeys(path.format(**world | needs) for path in paths):
        tabs[path] = context.new_page()
        answer = tabs[path].goto(path)
        assert answer is not None and "media-src 'none'" in answer.headers["content-security-policy"], path
        if answer.ok:
            expect(tabs[path].locator("body")).to_have_attribute("data-live", "live", timeout=15_000)
    assert len(tabs) > 12
    titles = {path: tab.title() for path, tab in tabs.items()}
    speaker.evaluate("window.loudest = 0")
    # The world's zones ask for masks on Monday mornings alone.
    python_in(
        portal, "from cameras.models import *; CameraZone.objects.all().delete(); Camera.objects.update(paused=False)"
    )
    before = len(said_at(portal, camera))
    wait_for(lambda: [row for row in said_at(portal, camera)[before:] if row["played_s"]], 60, "a real reminder")
    assert speaker.evaluate("window.loudest") > 0.05
    for path, tab in tabs.items():
        if titles[path].startswith("("):
            wait_for(partial(title_changed, tab, titles[path]), 20, f"the violation on {path}")
        assert tab.evaluate("window.sounded") == [], path


def test_the_phone_asks_him_to_mask_and_he_does(portal: PortalProcess, visit: Visit, phone: Page) -> None:
    """Paired, online, a man without a mask, the manager's alert, the reminder played to its end, the mask put on."""
    manager, alerted = visit(portal, portal.login()), visit(portal, portal.login())
    link = make_link(manager)
    python_in(portal, "from cameras.models import *; Camera.objects.exclude(kind='device').update(paused=True)")
    alerted.goto("/cameras/")
    with portal.standing_still("jobs@"):  # as if retention took for ever: no reminder waits for it
        pair(phone, link, "Door phone")
        expect(phone.locator("[data-sound-text]")).to_contain_text("The sound is off")
        switch_sound_on(phone)
        expect(alerted.locator(".toast", has_text="Door phone").first).to_be_visible(timeout=40_000)
        heard = wait_for(
            lambda: [row for row in said_at(portal, "Door phone") if row["played_s"] and row["masked"]], 60, "a mask"
        )
    print(f"bare to reminder sent: {heard[0]['sent_s']:.2f} s; sent to its last word: {heard[0]['played_s']:.2f} s")
    assert heard[0]["sent_s"] < 5
    assert heard[0]["step"] == "first" and 1.5 < heard[0]["played_s"] < 8
    assert phone.evaluate("window.loudest") > 0.05
    manager.goto(f"/violations/{heard[0]['violation']}/")
    expect(manager.locator("[data-masked]")).to_contain_text("s after the reminder")
    expect(manager.get_by_text("Reminder: Played")).to_be_visible()
    manager.goto("/sites/")
    manager.get_by_role("link", name="Harbour House").click()
    manager.get_by_role("link", name="The voice at its doors").click()
    expect(manager.locator(".figures")).to_contain_text("put a mask on")


VOICES = """
window.spoken = [];
const voices = [
  { lang: "de-DE", localService: true, name: "Hans" },
  { lang: "en-GB", localService: false, name: "Far" },
  { lang: "en-US", localService: true, name: "Near" },
];
speechSynthesis.getVoices = () => voices;
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
speechSynthesis.speak = (said) => {
  window.spoken.push([said.voice.name, said.text]);
  if (window.dumb) return;
  setTimeout(() => { said.onstart(); setTimeout(() => said.onend(), 50); }, 50);
};
speechSynthesis.cancel = () => {};
"""


def test_the_browsers_own_voice_is_taken_and_the_rendered_sound_where_it_stays_dumb(
    portal: PortalProcess, visit: Visit, browser: Browser
) -> None:
    manager, speaker = visit(portal, portal.login()), visit(portal)
    speaker.add_init_script(VOICES)
    speaker.add_init_script(MEASURE)
    which = "from cameras.models import *; print(Camera.objects.filter(kind='clip').order_by('pk')[1].name)"
    name = python_in(portal, which).strip()
    pair_loudspeaker(portal, manager, speaker, name)
    switch_sound_on(speaker)
    manager.goto("/cameras/")
    manager.get_by_role("link", name=name, exact=True).first.click()
    for times, dumb in enumerate((False, True), 1):
        speaker.evaluate(f"window.dumb = {json.dumps(dumb)}")
        manager.get_by_role("button", name="Play it now").click()
        wait_for(partial(was_played, portal, name, times), 15, "its end")
        assert (speaker.evaluate("window.loudest") > 0.05) is dumb
    assert speaker.evaluate("window.spoken")[0] == ["Near", "Hello! Please put on a mask."]


def test_a_loudspeaker_in_the_network_is_called_by_the_worker_beside_it(portal: PortalProcess, visit: Visit) -> None:
    """The web process asks the worker that watches the camera, and reports what the worker found."""
    manager = visit(portal, portal.login())
    which = "from cameras.models import *; print(Camera.objects.filter(kind='clip').order_by('pk')[1].pk)"
    manager.goto(f"/cameras/{python_in(portal, which).strip()}/voice/")
    manager.get_by_label("On a camera or loudspeaker in the network").check()
    manager.get_by_label("Make").select_option(label="Shelly")
    manager.get_by_label("Host").fill("127.0.0.1:9")
    manager.get_by_role("button", name="Save the changes").click()
    manager.get_by_role("button", name="Play it now").click()
    newest = manager.locator("[data-said] li", has_text="Played by hand").first
    expect(newest).to_contain_text("This address leads to the portal's own machine", timeout=15_000)
