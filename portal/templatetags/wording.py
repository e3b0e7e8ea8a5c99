"""How pages word times, labels and what can be undone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.contrib.messages.storage.base import Message
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve, reverse
from django.utils import timezone
from django.utils.formats import date_format, localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.models import Rule
from portal.pages import undo
from portal.people.stored_words import in_own_language

register = template.Library()


@register.simple_tag
def ago(moment: datetime | None, zone: str) -> SafeString | str:
    """“2 minutes ago” (kept current by a script), exact on hover and for screen readers, in the site's zone."""
    if moment is None:
        return ""
    seconds = (timezone.now() - moment).total_seconds()
    text = _("just now") if seconds < 60 else _("%(time)s ago") % {"time": timesince(moment, depth=1)}
    return format_html(
        '<time data-ago datetime="{}" title="{}">{}</time>', moment.isoformat(), exact(moment, zone), text
    )


@register.simple_tag
def at_site(moment: datetime | None, zone: str) -> SafeString | str:
    """The exact local time at the site, with the zone's name."""
    if moment is None:
        return ""
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), exact(moment, zone))


def exact(moment: datetime, zone: str) -> str:
    local = moment.astimezone(ZoneInfo(zone))
    said = f"{date_format(local)}, {local:%H:%M:%S}"
    if getattr(timezone.get_current_timezone(), "key", "") == zone:
        return said  # their own zone: its name would be noise
    return f"{said} ({zone.replace('_', ' ')})"


@register.simple_tag
def at_own(moment: datetime) -> SafeString:
    """The exact time in the person's own zone."""
    local = timezone.localtime(moment)
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), short(local))


def short(local: datetime) -> str:
    """A date in the language's short form, and the time by one clock everywhere."""
    return f"{date_format(local, 'SHORT_DATE_FORMAT')}, {local:%H:%M:%S}"


PAGES = {
    "dashboard": gettext_lazy("the live pictures"),
    "violations": gettext_lazy("the list of violations"),
    "violation": gettext_lazy("a violation"),
    "cameras": gettext_lazy("the cameras"),
    "camera": gettext_lazy("a camera"),
    "camera_add": gettext_lazy("adding a camera"),
    "sites": gettext_lazy("the sites"),
    "site": gettext_lazy("a site"),
    "site_add": gettext_lazy("creating a site"),
    "people": gettext_lazy("the people"),
    "audit": gettext_lazy("the audit log"),
    "workers": gettext_lazy("the workers"),
    "figures": gettext_lazy("the figures"),
    "rules": gettext_lazy("who is notified"),
    "news": gettext_lazy("the news"),
    "profile": gettext_lazy("their profile"),
}


@register.filter
def said(stored: str | None) -> str:
    """A sentence that was stored in English, in the reader's language."""
    return in_own_language(str(stored or ""))


@register.filter
def unlocalized(value: float) -> str:
    """A number as SVG and CSS write it, in whatever language."""
    return f"{value:g}"


@register.filter
def page_name(address: str) -> str:
    """What the page at this address is called; empty if it has no name of its own."""
    try:
        name = resolve(address.partition("?")[0]).url_name
    except Resolver404:
        return ""
    return str(PAGES.get(str(name), ""))


@register.filter
def browser_name(agent: str) -> str:
    """The common name of this browser, from its User-Agent."""
    browsers = (("Edg", "Edge"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))
    systems = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
               ("Mac OS", "Mac"), ("Linux", "Linux"))  # fmt: skip
    name = next((name for mark, name in browsers if mark in agent), _("Unknown browser"))
    system = next((name for mark, name in systems if mark in agent), "")
    return _("%(browser)s on %(system)s") % {"browser": name, "system": system} if system else name


@register.inclusion_tag("components/badge.html")
def badge(kind: str, text: str) -> dict[str, str]:
    """A word with its shape: colour alone is not enough."""
    return {"kind": kind, "text": text}


@register.simple_tag
def undo_back(keys: list[str], here: str) -> str:
    """Where to look at what was undone: the violation itself, or this page if there were several."""
    return reverse("violation", args=[keys[0].partition(":")[0]]) if len(keys) == 1 else here


@register.simple_tag
def percent(value: float) -> str:
    """A percentage as the language writes it."""
    return _("%(number)s%%") % {"number": localize(value)}


@register.filter
def hundredths(share: float) -> int:
    """A share from 0 to 1 as a whole percentage."""
    return round(share * 100)


@register.filter
def undo_address(message: Message) -> str:
    """Where “Undo” posts to; empty if nothing can be undone this way."""
    return undo.undo_address(message.extra_tags)


@register.filter
def undo_keys(message: Message) -> list[str]:
    """What a form must send to undo what this message reports, each "<id>:<version>"."""
    tags: Any = (message.extra_tags or "").split()
    return list(tags[1:]) if tags[:1] == ["undo"] else []


# -- components -----------------------------------------------------------------------------------------------------


@register.inclusion_tag("components/act.html", takes_context=True)
def act(
    context: template.Context, route: str, *args: object, text: str, kind: str = "quiet", label: str = ""
) -> dict[str, object]:
    """A form that is one button, posted to `route`. `label` is read out if `text` says too little."""
    to = reverse(route, args=args)
    return {"to": to, "text": text, "kind": kind, "label": label, "csrf_token": context.get("csrf_token")}


@register.inclusion_tag("components/empty.html")
def empty_state(title: str, text: str, route: str = "", action: str = "") -> dict[str, object]:
    """What a page shows when there is nothing yet: what will be there, and the one thing to do."""
    return {"title": title, "text": text, "to": reverse(route) if route else "", "action": action}


@register.simple_block_tag
def head(content: str, title: str, site: str = "") -> SafeString:
    """The head of a page: its title, and the actions on the whole page."""
    return render_to_string("components/head.html", {"title": title, "site": site, "acts": content})


@register.simple_block_tag
def card(content: str, title: str, kind: str = "") -> SafeString:
    """A section of a page with its own title."""
    return render_to_string("components/card.html", {"title": title, "kind": kind, "content": content})


@register.simple_tag
def to_whom(rule: Rule, members: set[int]) -> str:
    """Whom a rule tells, and by what, in a line; a person who has left the site is marked."""
    roles = {"manager": _("managers"), "reviewer": _("reviewers"), "viewer": _("viewers")}
    named = [roles[role] for role in rule.roles if role in roles]
    for user in rule.people.all():
        is_here = user.is_active and (user.is_superuser or user.pk in members)
        named.append(str(user) if is_here else _("%(name)s (no longer here)") % {"name": user})
    ways = [str(label) for label, wanted in ((_("e-mail"), rule.by_email), (_("push"), rule.by_push)) if wanted]
    said = [_("%(people)s by %(ways)s") % {"people": ", ".join(named), "ways": _(" and ").join(ways)}] if named else []
    return "; ".join([*said, *(each.name for each in rule.destinations.all())]) or _("nobody")


# Of the bar at the bottom of a phone: paths in a square of 24.
ICONS = {
    "dashboard": "M3 6h12v12H3zM16 10l5-3v10l-5-3z",
    "violations": "M12 3 2 20h20zM12 10v5M12 17v1",
    "figures": "M4 20V11M10 20V5M16 20v-7M21 20H3",
    "more": "M4 7h16M4 12h16M4 17h16",
}


@register.inclusion_tag("components/nav_link.html", takes_context=True)
def nav_link(
    context: template.Context, route: str, text: str, within: str = "", query: str = "", count: int | None = None
) -> dict[str, object]:
    """A link in the navigation; `within` names the routes that belong to it."""
    match = context["request"].resolver_match
    is_here = match is not None and match.url_name in {route, *within.split()}
    icon = ICONS.get(route, "")
    return {
        "to": reverse(route) + query, "route": route, "text": text, "is_here": is_here, "count": count, "icon": icon,
    }  # fmt: skip
