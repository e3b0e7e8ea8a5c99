"""Every page of the portal in each of its states, for the accessibility checks and the screenshots."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.portal_process import PortalProcess, python_in

PASSWORD = "a-Long-pass-4u"

# A world in addition to the demo: a superuser, a colleague, an empty site with its manager, somebody with a second
# factor, somebody without any site, invitations, a camera that is down.
MAKE = """
import json
import random
import uuid
import time
from datetime import timedelta
from django.conf import settings
from django.core import signing
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from cameras.models import *
from cameras.reach.credentials import seal
from portal.devices import pairing
from portal.figures import speed
from portal.people import memberships
from portal.models import *
from portal.pages.sign_in import password_link
P = 'a-Long-pass-4u'
harbour, maple = Site.objects.order_by('name')[:2]
olivia = User.objects.get(email='manager@demo.example')
make = lambda name, **more: User.objects.create_user(name.split()[0].lower() + '@example.org', P, name=name, **more)
root, bob, nina, stan = make('Root', is_superuser=True, is_staff=True), make('Bob Tanaka'), make('Nina'), make('Stan')
rita = make('Rita')
eva = make('Eva Lindqvist')
TOTPDevice.objects.create(user=eva, name='app', confirmed=True)
for user in (bob, eva):
    Membership.objects.create(user=user, site=harbour, role='reviewer')
empty = Site.objects.create(name='Elm Court', time_zone='Europe/Berlin', address='Elmallee 4')
Membership.objects.create(user=nina, site=empty, role='manager')
old = Site.objects.create(name='Old Mill', archived_at=timezone.now())
Camera.objects.create(site=old, name='Gate', address='x.mp4', paused=True)
down = Camera.objects.create(site=harbour, name='Side entrance', kind='rtsp', address='rtsp://127.0.0.1:9/live')
outage = Outage.objects.create(camera=down, began_at=timezone.now() - timedelta(hours=30),
                               ended_at=timezone.now() - timedelta(hours=28), reason='Nothing answers there.')
told = {'site': harbour, 'camera': down, 'outage': outage, 'channel': 'email', 'receiver': olivia, 'about': '1',
        'lane': 'email:1'}
Delivery.objects.create(**told, event='outage.began', state='sent', sent_at=timezone.now() - timedelta(hours=29))
Delivery.objects.create(**told, event='outage.ended', state='failed', why='The mail server refuses this address (550).')
place = Destination.objects.create(site=harbour, name='Facility chat', kind='teams', sealed_address=seal('https://x'),
                                   shown_address='https://prod-1.westeurope.logic.azure.com/…')
rule = Rule.objects.create(site=harbour, name='Nights', topics=['no_mask', 'repeated', 'outage'], during='own',
                           hours={'0': ['20:00', '06:00']}, next_after_min=10, next_people=[bob.pk])
rule.people.set([olivia, bob])
rule.destinations.set([place])
stop = signing.dumps([rule.pk, olivia.pk], salt='stop-rule')
PushSubscription.objects.create(user=olivia, endpoint='https://web.push.apple.com/x',
                                browser='Mozilla/5.0 (Linux; Android 15)')
_, new = memberships.invite('dora@example.org', maple, 'viewer', olivia)
_, known = memberships.invite('stan@example.org', maple, 'viewer', olivia)
tests = ProbeRequest.objects.create(site=harbour, asked_by=olivia.pk, sealed='')
pine = Site.objects.create(name='Pine House')
device, token = pairing.redeem(pairing.invite(pine, root)[1], 'Reception phone', 'Mozilla/5.0 (Linux; Android 15)')
voiced = Camera.objects.filter(site=harbour, kind='clip').first()
Voice.objects.get_or_create(camera=voiced, defaults={'output': 'loudspeaker'})
said = {'site': harbour, 'camera': voiced, 'text': 'Hello! Please put on a mask.', 'language': 'en',
        'output': 'loudspeaker', 'step': 'trial'}
for number, how in enumerate(({'why_not': 'locked'}, {'sent_at': timezone.now(), 'played_at': timezone.now()})):
    Reminder.objects.create(**said, **how, decided_at=timezone.now() - timedelta(minutes=9 * number + 1))
_, speaker_token = pairing.redeem_loudspeaker(pairing.invite(harbour, olivia, down, 'loudspeaker')[1], 'Tablet')
for kind, corners in (('ignore', [[.02, .05], [.2, .05], [.2, .4], [.02, .4]]),
                      ('privacy', [[0, .9], [.3, .85], [.3, 1], [0, 1]])):
    CameraZone.objects.create(camera=voiced, kind=kind, points=corners)
timed = CameraZone.objects.create(camera=voiced, kind='watch', points=[[.3, .1], [.98, .1], [.98, .95], [.3, .95]],
                                  demand='recommended', hours={'0': ['08:00', '18:00']})
CameraSpot.objects.create(pk=uuid.uuid4(), camera=voiced, box=[.85, .05, .92, .21], visits=6,
                          first_at=timezone.now() - timedelta(hours=3), last_at=timezone.now())
speaker = pairing.invite(harbour, olivia, voiced, 'loudspeaker')[1]
for violation in Violation.objects.filter(site=harbour)[:2]:
    heard = {'violation': violation, 'step': 'first', 'sent_at': violation.started_at, 'played_at': timezone.now(),
             'decided_at': violation.started_at - timedelta(minutes=1)}
    Reminder.objects.create(**(said | heard))
today = harbour.local(timezone.now()).date()
chance = random.Random(7)
cameras = list(Camera.objects.filter(site=harbour).values_list('pk', flat=True))
for ago in range(1, 365):  # made up, as `manage.py bench reports` does
    day = today - timedelta(days=ago)
    Figures.objects.bulk_create(speed.day_rows([(harbour.pk, cameras)], day, chance), ignore_conflicts=True)
print(json.dumps({'yesterday': f'{today - timedelta(days=1)}', 'year_ago': f'{today - timedelta(days=364)}',
                  'today': f'{today}', 'rule': rule.pk, 'place': place.pk, 'stop': stop,
                  'voiced': voiced.pk, 'timed': timed.pk, 'speaker': speaker, 'speaker_token': speaker_token,
                  'pair': pairing.invite(harbour, olivia)[1], 'token': token,
                  'device': device.pk,
                  'down': down.pk, 'harbour': harbour.pk, 'empty': empty.pk, 'new': new, 'known': known,
                  'reset': password_link(rita).partition('/password/')[2]}))
"""
WHO = {
    "olivia": ("manager@demo.example", ""),
    **{name: (f"{name}@example.org", PASSWORD) for name in ("root", "nina", "stan", "bob", "eva")},
}


def nothing(page: Page) -> None:
    return


@dataclass(frozen=True)
class Shot:
    """One page in one state.

    Args:
        route: its name in portal/urls.py.
        who: who is signed in; empty for nobody.
        act: what is done on the page before it is looked at.
    """

    name: str
    route: str
    path: str
    who: str = "olivia"
    act: Callable[[Page], None] = nothing


def press(button: str, **fields: str) -> Callable[[Page], None]:
    """Fill fields by their labels, and press a button."""

    def act(page: Page) -> None:
        for label, value in fields.items():
            page.get_by_label(label.replace("_", " "), exact=True).first.fill(value)
        page.get_by_role("button", name=button, exact=True).first.click()
        page.wait_for_load_state()

    return act


def draw_zone(page: Page) -> None:
    """A triangle that is not saved, beside those that are."""
    picture = page.locator("[data-zone-picture]")
    page.wait_for_function("document.querySelector('[data-zone-image]').complete")
    box = picture.bounding_box()
    assert box is not None
    for x, y in ((0.55, 0.2), (0.9, 0.3), (0.7, 0.8)):
        picture.click(position={"x": x * box["width"], "y": y * box["height"]})


def make_program(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill("Screen in the canteen")
    page.get_by_role("button", name="Make its token").click()
    page.get_by_label("Token", exact=True).wait_for()


def make_worker(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill("Mini in the server room")
    page.get_by_role("button", name="Make its key").click()
    page.get_by_label("On that machine").wait_for()


def wrong_login(page: Page) -> None:
    page.get_by_label("E-mail").fill(f"nobody{time.time_ns()}@example.org")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()


def make_password_link(page: Page) -> None:
    open_more(page)
    page.get_by_role("button", name="Create a password link for Bob Tanaka").click()
    page.wait_for_load_state()


def wrong_address(page: Page) -> None:
    page.get_by_label("Site").select_option(index=1)
    page.get_by_label("Address").fill("file:///etc/passwd")
    page.get_by_role("button", name="Add this camera").click()
    page.wait_for_load_state()


def failed_test(page: Page) -> None:
    page.get_by_role("button", name="Test it").click()
    expect(page.locator(".verdict")).to_be_visible(timeout=16_000)


def good_test(page: Page) -> None:
    page.get_by_label("Site").select_option(index=1)
    page.get_by_label("Make").select_option("clip")
    page.get_by_label("Address").fill("maple-tower.mp4")
    page.get_by_role("button", name="Test it").click()
    expect(page.locator(".verdict")).to_be_visible(timeout=16_000)
    page.wait_for_load_state("networkidle")


def make_device_link(page: Page) -> None:
    page.get_by_label("Site").select_option(index=1)
    page.get_by_role("button", name="Create the link").click()
    page.wait_for_load_state("networkidle")


def ask_to_pair(page: Page) -> None:
    expect(page.get_by_role("button", name="Use this device as a camera")).to_be_visible()


def ask_to_speak(page: Page) -> None:
    expect(page.get_by_role("button", name="Use this device as a loudspeaker")).to_be_visible()


def written_call(page: Page) -> None:
    page.get_by_label("On a camera or loudspeaker in the network").check()
    page.get_by_label("Make").select_option("")
    page.get_by_label("URL").fill("http://192.168.1.30/say?words=$face")
    page.get_by_role("button", name="Save the changes").click()
    page.wait_for_load_state()


def be_a_loudspeaker(page: Page) -> None:
    address = urlsplit(page.url)
    page.context.add_cookies([{"name": "speaker", "value": address.query, "url": f"http://{address.netloc}"}])
    page.goto("/speaker/")
    expect(page.locator("[data-sound-text]")).to_be_visible()


def be_a_device(page: Page) -> None:
    """Act as the phone whose token is in the address; this browser has no camera to offer, and says so."""
    address = urlsplit(page.url)
    page.context.add_cookies([{"name": "device", "value": address.query, "url": f"http://{address.netloc}"}])
    page.goto("/door/")
    expect(page.locator("[data-veil-text]")).not_to_be_empty()


def scroll_through(page: Page) -> None:
    """Scroll down and back up, so that pictures further down are loaded."""
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_load_state("networkidle")
    page.evaluate("window.scrollTo(0, 0)")


def live(page: Page) -> None:
    """Both of the demo's cameras show pictures: each once it is in view."""
    online = page.locator(".tile[data-state='online']")
    expect(online).to_have_count(2, timeout=20_000)
    for tile in online.all():
        tile.scroll_into_view_if_needed()
        expect(tile).to_have_attribute("data-fresh", "", timeout=20_000)
    page.evaluate("window.scrollTo(0, 0)")


def open_hours(page: Page) -> None:
    for day in range(5):
        page.locator(f"#id_opens_{day}").fill("08:00")
        page.locator(f"#id_closes_{day}").fill("18:00" if day else "08:00")
    page.get_by_role("button", name="Save the changes").click()
    page.wait_for_load_state()


def open_more(page: Page) -> None:
    page.get_by_label("More for Bob Tanaka").click()


SHOTS = (
    Shot("sign-in", "login", "/sign-in/", ""),
    Shot("sign-in-error", "login", "/sign-in/", "", wrong_login),
    Shot("forgotten", "password_reset", "/password/", ""),
    Shot("forgotten-sent", "password_reset_done", "/password/sent/", ""),
    Shot("new-password", "password_reset_confirm", "/password/{reset}", ""),
    Shot("new-password-over", "password_reset_confirm", "/password/x/y/", ""),
    Shot("invitation-new", "invitation", "/invitation/{new}/", ""),
    Shot("invitation-error", "invitation", "/invitation/{new}/", "", press("Join Maple Tower")),
    Shot("invitation-known", "invitation", "/invitation/{known}/", ""),
    Shot("invitation-yes", "invitation", "/invitation/{known}/", "stan"),
    Shot("invitation-over", "invitation", "/invitation/nonsense/", ""),
    Shot("code", "second_factor", "/sign-in/code/", "eva"),
    Shot("code-error", "second_factor", "/sign-in/code/", "eva", press("Sign in", Code="000000")),
    Shot("live", "dashboard", "/", act=live),
    Shot("live-empty", "dashboard", "/", "nina"),
    Shot("live-no-site", "dashboard", "/", "stan"),
    Shot("violations", "violations", "/violations/", act=scroll_through),
    Shot("violations-empty", "violations", "/violations/", "nina"),
    Shot("violations-none-fits", "violations", "/violations/?status=dismissed"),
    Shot("violations-error", "violations", "/violations/?status=nonsense"),
    Shot("violation", "violation", "/violations/{violation}/"),
    Shot("figures", "figures", "/figures/"),
    Shot("figures-day", "figures", "/figures/?site={harbour}&from={yesterday}&to={yesterday}"),
    Shot("figures-year", "figures", "/figures/?site={harbour}&from={year_ago}&to={today}"),
    Shot("figures-empty", "figures", "/figures/", "nina"),
    Shot("figures-error", "figures", "/figures/?from=2026-02-01&to=2026-01-01"),
    Shot("cameras", "cameras", "/cameras/"),
    Shot("cameras-empty", "cameras", "/cameras/", "nina"),
    Shot("camera-add", "camera_add", "/cameras/add/"),
    Shot("camera-add-error", "camera_add", "/cameras/add/", act=wrong_address),
    Shot("camera-add-tested", "camera_add", "/cameras/add/", act=good_test),
    Shot("camera-down-tested", "camera", "/cameras/{down}/", act=failed_test),
    Shot("camera-device", "camera", "/cameras/{device}/", "root"),
    Shot("zones", "zones", "/cameras/{voiced}/zones/", act=draw_zone),
    Shot("workers", "workers", "/workers/", "root"),
    Shot("zone", "zone", "/zones/{timed}/"),
    Shot("zones-no-picture", "zones", "/cameras/{down}/zones/"),
    Shot("camera-voice", "camera_voice", "/cameras/{voiced}/voice/"),
    Shot("camera-voice-call", "camera_voice", "/cameras/{down}/voice/", act=written_call),
    Shot("camera-voice-device", "camera_voice", "/cameras/{device}/voice/", "root"),
    Shot("loudspeaker-link", "camera_voice", "/cameras/{voiced}/voice/", act=press("Pair a loudspeaker")),
    Shot("device-add", "device_add", "/devices/add/"),
    Shot("device-link", "device_add", "/devices/add/", act=make_device_link),
    Shot("pair", "pair", "/pair/#{pair}", "", ask_to_pair),
    Shot("pair-cut", "pair", "/pair/", ""),
    Shot("pair-loudspeaker", "pair", "/pair/#{speaker}", "", ask_to_speak),
    Shot("door-unpaired", "door", "/door/", ""),
    Shot("try", "try", "/try/", ""),
    Shot("sites", "sites", "/sites/", "root"),
    Shot("site-add", "site_add", "/sites/add/", "root"),
    Shot("site", "site", "/sites/{harbour}/"),
    Shot("site-voice", "site_voice", "/sites/{harbour}/voice/"),
    Shot("site-voice-empty", "site_voice", "/sites/{empty}/voice/", "nina"),
    Shot("deliveries", "deliveries", "/sites/{harbour}/deliveries/"),
    Shot("deliveries-empty", "deliveries", "/sites/{empty}/deliveries/", "nina"),
    Shot("programs", "programs", "/sites/{harbour}/programs/"),
    Shot("program-made", "programs", "/sites/{harbour}/programs/", act=make_program),
    Shot("site-workers", "site_workers", "/sites/{harbour}/workers/"),
    Shot("site-worker-made", "site_workers", "/sites/{empty}/workers/", "nina", act=make_worker),
    Shot("rules", "rules", "/sites/{harbour}/rules/"),
    Shot("rule", "rule", "/rules/{rule}/"),
    Shot("rule-add", "rule_add", "/sites/{empty}/rules/add/", "nina"),
    Shot("rule-error", "rule_add", "/sites/{harbour}/rules/add/", act=press("Save")),
    Shot("destination", "destination", "/destinations/{place}/"),
    Shot("destination-add", "destination_add", "/sites/{harbour}/destinations/add/", act=press("Save")),
    Shot("stop", "stop", "/stop/{stop}/", ""),
    Shot("more", "more", "/more/"),
    Shot("more-root", "more", "/more/", "root"),
    Shot("offline", "offline", "/offline/", ""),
    Shot("news", "news", "/news/"),
    Shot("news-empty", "news", "/news/", "nina"),
    Shot("site-error", "site", "/sites/{harbour}/", act=open_hours),
    Shot("people", "people", "/people/", act=open_more),
    Shot("people-error", "people", "/people/", act=press("Invite")),
    Shot("password-link", "people", "/people/", act=make_password_link),
    Shot("log", "audit", "/audit/"),
    Shot("log-empty", "audit", "/audit/?who=nobody+at+all"),
    Shot("profile", "profile", "/profile/"),
    Shot("profile-error", "profile", "/profile/", act=press("Change the password")),
    Shot("two-factor", "two_factor", "/profile/two-factor/"),
    Shot("two-factor-error", "two_factor", "/profile/two-factor/", act=press("Turn it on", Code="000000")),
    Shot("not-here", "", "/nothing/"),
    Shot("not-allowed", "cameras", "/cameras/", "bob"),
    Shot("speaker-unpaired", "speaker", "/speaker/", ""),
    Shot("speaker", "speaker", "/speaker/?{speaker_token}", "", be_a_loudspeaker),
    Shot("door", "door", "/door/?{token}", "", be_a_device),  # after the unpaired one, as the cookie stays
)  # fmt: skip
ELSEWHERE = {"first_user", "connect"}  # need another portal: an empty one, and one with HTTPS


# Parts of pages, pictures, files, and addresses that only take a POST.
NOT_PAGES = {
    *(
        "strip",
        "snapshot",
        "face",
        "thumbnail",
        "glimpse",
        "healthz",
        "readyz",
        "probe",
        "probe_picture",
        "authority",
        "audit_export",
        "figures_export",
        "violations_export",
        "metrics",
        "bulk_progress",
        "bulk_undo",
        "site_worker_revoke",
        "worker_drain",
    ),
    *("logout", "review", "camera_test", "invite", "change_role", "remove_member", "hand_over", "bring_back"),
    *("password_link", "invitation_renew", "invitation_withdraw", "change_password", "sign_out_everywhere"),
    *(
        "told",
        "told_quiet",
        "camera_quiet",
        "camera_loud",
        "push_worker",
        "push_on",
        "push_off",
        "push_test",
        "mail_test",
        "switch_rule",
    ),
    *(
        "picture_now",
        "zone_delete",
        "spot",
        "ignore_spot",
        "program_revoke",
        "rule_delete",
        "destination_delete",
        "destination_test",
    ),
    *("delivery_again", "person_erase", "review_forget", "camera_add_demo"),
    *("two_factor_off", "recovery_codes", "camera_duplicate", "camera_pause", "camera_resume", "camera_delete"),
    *("camera_restore", "site_archive", "site_restore", "pairing", "pair_look", "pair_redeem", "device_pair"),
    *("voice_play", "voice_said", "voice_audio", "loudspeaker_pair", "loudspeaker_unpair"),
    *("device_unpair", "door_leave", "try_manifest", "try_model"),
}


def make_world(portal: PortalProcess) -> dict[str, str]:
    """The values of the placeholders in the paths."""
    return {name: str(value) for name, value in json.loads(python_in(portal, MAKE)).items()}


def login_of(portal: PortalProcess, who: str) -> tuple[str, str]:
    email, password = WHO[who]
    return (email, password) if password else portal.login()


def page_routes() -> set[str]:
    """The names of all routes that show a page, from the URL list."""
    from django.urls import get_resolver

    named = {str(name) for pattern in get_resolver().url_patterns if (name := getattr(pattern, "name", None))}
    return named - NOT_PAGES
