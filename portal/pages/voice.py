"""The voice at the door: where a camera's reminders sound, what a site says and when, and what came of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from cameras.errors import AddressError
from cameras.models import Camera, Site
from cameras.reach import addresses
from portal.devices import pairing
from portal.models import Phrase, Purpose, SitePhrase, SitePolicy, Voice, policy_of
from portal.pages.camera_form import HOST
from portal.pages.cameras import SHOWN_REMINDERS
from portal.pages.devices import show_link
from portal.pages.hours import HoursForm
from portal.pages.sealed_login import SealedLoginForm
from portal.people import access, audit
from portal.people.audit import Action
from portal.server import throttling
from portal.voice import call, phrases, reminding

PLAYS_A_MINUTE = 10
DAYS = 30
WRITTEN = ""  # the preset of a call that is written out


# -- a camera's voice ---------------------------------------------------------------------------------------------


class VoiceForm(SealedLoginForm):
    """Where a camera's reminders sound, and after how many seconds."""

    reminder_after_s = forms.FloatField(
        label=gettext_lazy("Seconds without a mask before it speaks"), min_value=0, max_value=60
    )

    class Meta:
        model = Voice
        fields = (
            "output",
            "is_muted",
            "preset",
            "host",
            "channel",
            "method",
            "url",
            "content_type",
            "body",
            "user",
            "sound_device",
        )
        widgets = {
            "output": forms.RadioSelect,
            "user": forms.TextInput(attrs={"autocomplete": "off"}),
            "body": forms.Textarea(attrs={"rows": 3}),
        }
        labels = {"preset": gettext_lazy("Make"), "host": gettext_lazy("Host"), "url": gettext_lazy("URL")}
        help_texts = {
            "host": gettext_lazy("Its IP address or name in the network, like 192.168.1.30."),
            "url": gettext_lazy("With $text, $language, $camera, $site or $audio_url where they belong."),
            "body": gettext_lazy("The same; or $audio_wav or $audio_mulaw alone, which is the sound itself."),
            "content_type": gettext_lazy("Like application/json."),
            "channel": gettext_lazy("Hikvision: the audio channel, usually 1. Shelly: the switch, usually 0. go2rtc: "
                                    "the name of the stream."),
        }  # fmt: skip

    instance: Voice
    address_fields = ("preset", "host", "channel", "url")

    def login_address(self, values: Mapping[str, Any]) -> str:
        return call.address_of(values["preset"], values["host"], values["channel"], values["url"])

    def __init__(self, camera: Camera, data: Any = None) -> None:
        voice = getattr(camera, "voice", None) or Voice(camera=camera)
        super().__init__(data, instance=voice)
        self.camera = camera
        self.initial["reminder_after_s"] = f"{camera.reminder_after_s:g}"
        is_device = camera.kind == Camera.Kind.DEVICE
        absent = {Voice.Output.DEVICE} - ({Voice.Output.DEVICE} if is_device else set())
        absent |= set() if settings.MQTT_URL or voice.output == Voice.Output.MQTT else {Voice.Output.MQTT}
        choices = [choice for choice in Voice.Output.choices if choice[0] not in absent]
        self.fields["output"] = forms.ChoiceField(label=_("Where it speaks"), choices=choices, widget=forms.RadioSelect)
        made = [(key, preset.name) for key, preset in call.PRESETS.items()]
        self.fields["preset"] = forms.ChoiceField(
            label=_("Make"),
            required=False,
            choices=[*made, (WRITTEN, _("Another make: you write the request yourself"))],
        )
        self.fields["method"].required = False

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        cleaned["method"] = cleaned.get("method") or Voice.Method.GET
        self._leave_out_hidden(cleaned)
        if cleaned.get("output") == Voice.Output.CALL:
            if cleaned.get("preset"):
                self._check_host(cleaned)
            else:
                self._check_written(cleaned)
            self.check_login(cleaned)
        return cleaned

    def _leave_out_hidden(self, cleaned: dict[str, Any]) -> None:
        """Fields that this output does not use are not shown: they stay as stored, and are never invalid."""
        used = {
            Voice.Output.NOWHERE: set(),
            Voice.Output.LOCAL: {"reminder_after_s", "sound_device", "is_muted"},
            Voice.Output.CALL: {"reminder_after_s", "preset", "user", "password", "is_muted"}
            | ({"host", "channel"} if cleaned.get("preset") else {"method", "url", "content_type", "body"}),
        }.get(cleaned.get("output", ""), {"reminder_after_s", "is_muted"})
        for name in set(self.fields) - used - {"output"}:
            self.errors.pop(name, None)
            cleaned.pop(name, None)

    def _check_host(self, cleaned: dict[str, Any]) -> None:
        preset = call.PRESETS[cleaned["preset"]]
        if not HOST.fullmatch(cleaned.get("host") or ""):
            self.add_error("host", _("Enter only the host here, like 192.168.1.30 or speaker.lan."))
        if preset.first_channel is not None and not cleaned.get("channel"):
            cleaned["channel"] = preset.first_channel
            if not cleaned["channel"]:
                self.add_error("channel", _("Enter the name of the stream there."))

    def _check_written(self, cleaned: dict[str, Any]) -> None:
        for name, allowed in (("url", call.WORDS), ("body", call.WORDS + call.SOUNDS)):
            if problem := call.check_template(cleaned.get(name) or "", allowed):
                self.add_error(name, problem)
        if "url" in cleaned:
            if "$" in addresses.authority_of(cleaned["url"]):  # the login would be sent wherever a placeholder leads
                self.add_error("url", _("Write the host itself; placeholders are allowed only after it."))
                return
            try:
                addresses.parse_address(cleaned["url"], ("http", "https"))
            except AddressError as error:
                self.add_error("url", str(error))
        body = (cleaned.get("body") or "").strip()
        if call.names_sound(body) and not call.is_sound(body):
            self.add_error("body", _("A sound must be the whole body: write $audio_wav or $audio_mulaw alone."))
        cleaned["body"] = body

    def store(self) -> None:
        """Save. Only the recorder uses the seconds, so the watch of the camera continues."""
        voice, cleaned = self.instance, self.cleaned_data
        if voice.output == Voice.Output.CALL:  # otherwise the login is not shown, and stays as it was
            voice.sealed_password = self.sealed_password
        with transaction.atomic():
            voice.save()
            if "reminder_after_s" in cleaned:
                Camera.objects.filter(pk=self.camera.pk).update(reminder_after_s=cleaned["reminder_after_s"])

    @property
    def preset_notes(self) -> list[tuple[str, Any]]:
        return [(key, preset.note) for key, preset in call.PRESETS.items()]


@never_cache
def camera_voice(request: HttpRequest, camera_id: int) -> HttpResponse:
    """Where this camera's reminders sound."""
    camera = access.get_camera(request, camera_id)
    form = VoiceForm(camera, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.store()
        audit.note(request, Action.VOICE_CHANGED, camera.name, camera.site)
        messages.success(request, _("Saved. “Play it now” shows whether it can be heard."))
        return redirect("camera_voice", camera.pk)
    as_stored = access.get_camera(request, camera_id)
    context = {
        "form": form,
        "camera": as_stored,
        "policy": policy_of(as_stored.site),
        "voice": getattr(as_stored, "voice", None),
        "loudspeaker": pairing.paired_as(camera, Purpose.LOUDSPEAKER),
        "reminders": camera.reminders.all()[:SHOWN_REMINDERS],
    }
    return render(request, "cameras/voice.html", context, status=422 if form.errors else 200)


@require_POST
def play(request: HttpRequest, camera_id: int) -> HttpResponse:
    """Say the reminder now; the list of reminders shows how it went."""
    camera, refusal, follow = access.get_camera(request, camera_id), "", ""
    if not reminding.speaks(camera):
        refusal = _("This door is silent. Choose where it speaks, and save.")
    elif not throttling.allow("voice-play", str(camera.pk), PLAYS_A_MINUTE):
        refusal = _("Played too often. Wait a minute, then play it again.")
    else:
        reminder = reminding.play_by_hand(camera)
        follow = f"{reverse('voice_said', args=[camera.pk])}?reminder={reminder.pk}"
        audit.note(request, Action.VOICE_PLAYED, camera.name, camera.site)
    if request.headers.get("Accept") == "application/json":  # from the page's script, which stays on the page
        return JsonResponse({"error": refusal} if refusal else {"follow": follow}, status=409 if refusal else 202)
    if refusal:
        messages.warning(request, refusal)
    return redirect("camera_voice", camera.pk)


@never_cache
@require_safe
def said(request: HttpRequest, camera_id: int) -> HttpResponse:
    """The latest reminders, and `?reminder=`, as part of a page; X-Done says whether that one is finished."""
    camera = access.get_camera(request, camera_id)
    rows = list(camera.reminders.all()[:SHOWN_REMINDERS])
    asked = request.GET.get("reminder", "")
    followed = next((row for row in rows if str(row.pk) == asked), None)
    if followed is None and is_uuid(asked) and (followed := camera.reminders.filter(pk=asked).first()):
        rows.append(followed)
    answer = render(request, "cameras/said.html", {"camera": camera, "reminders": rows})
    answer["X-Done"] = "0" if followed is not None and followed.is_under_way else "1"
    return answer


def is_uuid(text: str) -> bool:
    try:
        return bool(UUID(text))
    except ValueError:
        return False


@never_cache
@require_POST
def pair_loudspeaker(request: HttpRequest, camera_id: int) -> HttpResponse:
    """A link that makes a browser at the door the loudspeaker of this camera."""
    camera = access.get_camera(request, camera_id)
    return show_link(request, camera.site, camera, Purpose.LOUDSPEAKER)


@require_POST
def unpair_loudspeaker(request: HttpRequest, camera_id: int) -> HttpResponse:
    camera = access.get_camera(request, camera_id)
    pairing.revoke(camera, Purpose.LOUDSPEAKER)
    audit.note(request, Action.DEVICE_UNPAIRED, camera.name, camera.site)
    messages.success(request, _("%(camera)s no longer has a loudspeaker page.") % {"camera": camera})
    return redirect("camera_voice", camera.pk)


# -- a site's voice -----------------------------------------------------------------------------------------------


class SiteVoiceForm(HoursForm):
    """What its doors say, in its language, and when they may speak."""

    class Meta:
        model = SitePolicy
        fields = ("thanks",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_hours(self.instance.reminder_hours or {})
        site, language = self.instance.site, self.instance.language
        direction = "rtl" if language in phrases.RIGHT_TO_LEFT else "ltr"
        own = dict(SitePhrase.objects.filter(site=site, language=language).values_list("phrase", "text"))
        for phrase in Phrase:
            attributes = {
                "placeholder": phrases.PHRASES[language][phrase],
                "lang": language,
                "dir": direction,
            }
            self.fields[f"say_{phrase}"] = forms.CharField(
                label=phrase.label, max_length=200, required=False, widget=forms.TextInput(attrs=attributes)
            )
            self.initial[f"say_{phrase}"] = own.get(phrase, "")

    @property
    def phrase_fields(self) -> list[forms.BoundField]:
        return [self[f"say_{phrase}"] for phrase in Phrase]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self.instance.reminder_hours = self.read_hours(cleaned)
        for phrase in Phrase:
            text = " ".join(cleaned.get(f"say_{phrase}", "").split())
            cleaned[f"say_{phrase}"] = "".join(letter for letter in text if unicodedata.category(letter) != "Cc")
        return cleaned

    @transaction.atomic
    def store(self) -> None:
        policy = self.instance
        if policy._state.adding:
            policy.save()
        else:
            policy.save(update_fields=["thanks", "reminder_hours"])
        here = {"site": policy.site, "language": policy.language}
        SitePhrase.objects.filter(**here).delete()
        SitePhrase.objects.bulk_create(
            SitePhrase(**here, phrase=phrase, text=text)
            for phrase in Phrase
            if (text := self.cleaned_data[f"say_{phrase}"])
        )


def site_voice(request: HttpRequest, site_id: int) -> HttpResponse:
    """What the doors of a site say, when, and whether it helps."""
    found = access.get_site(request, site_id)
    form = SiteVoiceForm(request.POST or None, instance=policy_of(found))
    if request.method == "POST" and form.is_valid():
        form.store()
        audit.note(request, Action.VOICE_CHANGED, "", found)
        messages.success(request, _("%(site)s is saved.") % {"site": found})
        return redirect("site_voice", found.pk)
    counts = reminding.persuaded(found, timezone.now() - timedelta(days=DAYS))
    voices = Camera.objects.filter(site=found, deleted_at__isnull=True).select_related("voice").order_by("name")
    context = {
        "form": form,
        "site": Site.objects.get(pk=site_id),
        "counts": counts,
        "shares": {kind: share(counts[f"{kind}_masked"], counts[kind]) for kind in ("reminded", "unasked")},
        "days": DAYS,
        "cameras": voices,
    }
    return render(request, "sites/voice.html", context, status=422 if form.errors else 200)


def share(part: int, of: int) -> int | None:
    """A percentage; None if there was nobody."""
    return round(100 * part / of) if of else None
