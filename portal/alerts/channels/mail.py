"""E-mail, one message a receiver, by EMAIL_URL.

A server's answer counts by its code (RFC 5321, section 4.2.1): 5xx is for good, 4xx and silence are tried again. The
Message-ID is the delivery's own, so that a mailbox can drop what was sent twice because an answer was lost. Each
message can be stopped with one click, without signing in (RFC 8058).
"""

from __future__ import annotations

import smtplib
from email.mime.image import MIMEImage
from email.utils import parseaddr

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from portal.alerts.channels import Batch, SendError, register
from portal.alerts.wording import word
from portal.models import Delivery, User
from portal.people import access, audit, looks
from portal.people.access import Right
from portal.people.pictures import PictureGoneError, PictureView, render

STOP_SALT = "stop-rule"
PICTURE = "picture"


@register(Delivery.Channel.EMAIL)
def send(batch: Batch) -> None:
    user = receiver_of(batch[0])
    picture = picture_for(user, batch[0]) if len(batch) == 1 else b""
    message = compose(batch, user, picture)
    hand_over(message)
    if picture and batch[0].violation is not None:
        audit.note_sent(looks.describe(batch[0].violation), batch[0].site, user)


def hand_over(message: EmailMultiAlternatives) -> None:
    """Give a message to the mail server; raises SendError if it does not take it."""
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        code, _text = next(iter(error.recipients.values()))
        told = _("The mail server refuses this address (%(code)d).") % {"code": code}
        raise SendError(told, permanent=code >= 500) from error
    except smtplib.SMTPResponseException as error:
        permanent = error.smtp_code >= 500 and not isinstance(error, smtplib.SMTPAuthenticationError)
        told = _("The mail server refuses it (%(code)d).") % {"code": error.smtp_code}
        raise SendError(told, permanent=permanent) from error
    except (smtplib.SMTPException, OSError) as error:
        raise SendError(_("The mail server does not answer.")) from error


def try_out(user: User) -> str:
    """Send a test to a person now; returns how it went, as a sentence."""
    text = _("It works: e-mails from the mask portal reach you here.")
    try:
        hand_over(EmailMultiAlternatives(_("A test from the mask portal"), text, None, [user.email]))
    except SendError as error:
        return str(error)
    return _("The mail server accepted it for %(address)s.") % {"address": user.email}


def receiver_of(delivery: Delivery) -> User:
    if delivery.receiver is None:
        raise SendError(_("There is nobody to send it to."), permanent=True)
    return delivery.receiver


def compose(batch: Batch, user: User, picture: bytes) -> EmailMultiAlternatives:
    """The message, in the receiver's language, as text and as HTML, with the picture that they may see."""
    first = batch[0]
    stop = stop_address(user, first)
    with translation.override(user.reads):
        words = word(batch)
        context = {
            "message": words,
            "language": translation.get_language(),
            "site": first.site,
            "rule": first.rule,
            "picture": PICTURE if picture else "",
            "stop": stop,
            "quiet": quiet_address(user, first),
            "profile": f"{settings.BASE_URL}{reverse('profile')}",
        }
        text = render_to_string("alerts/message.txt", context)
        html = render_to_string("alerts/message.html", context)
    host = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    headers = {"Message-ID": f"<{first.key}@{host}>", "Auto-Submitted": "auto-generated"}  # RFC 3834
    if stop:
        headers |= {"List-Unsubscribe": f"<{stop}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    message = EmailMultiAlternatives(words.subject, text, None, [user.email], headers=headers)
    message.attach_alternative(html, "text/html")
    if picture:
        image = MIMEImage(picture, "jpeg")
        image.add_header("Content-ID", f"<{PICTURE}>")
        image.add_header("Content-Disposition", "inline", filename="picture.jpg")
        message.attach(image)
        message.mixed_subtype = "related"  # type: ignore[attr-defined]
    return message


def picture_for(user: User, delivery: Delivery) -> bytes:
    """The picture of a violation as this person may see it; empty if there is none."""
    violation = delivery.violation
    if violation is None or delivery.event != Delivery.Event.VIOLATION_OPENED:
        return b""
    if not access.may(user, Right.LOOK, violation.site_id):
        return b""
    try:
        return render(violation, access.audience(user, violation), PictureView.THUMBNAIL)
    except PictureGoneError:
        return b""


def quiet_address(user: User, delivery: Delivery) -> str:
    """Where one click of who is signed in makes the camera quiet; empty for who may not, or if it is about none."""
    if delivery.camera_id is None or delivery.event == Delivery.Event.OUTAGE_ENDED:
        return ""
    if not access.may(user, Right.REVIEW, delivery.site_id):
        return ""
    return f"{settings.BASE_URL}{reverse('told_quiet', args=[delivery.key])}"


def stop_address(user: User, delivery: Delivery) -> str:
    """Where one click stops what this rule tells this person; empty if no rule sent it."""
    if delivery.rule_id is None:
        return ""
    token = signing.dumps([delivery.rule_id, user.pk], salt=STOP_SALT)
    return f"{settings.BASE_URL}{reverse('stop', args=[token])}"
