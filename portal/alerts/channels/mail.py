"""E-mail, one message a receiver, by EMAIL_URL.

A server's answer counts by its code (RFC 5321, section 4.2.1): 5xx is for good, 4xx and silence are tried again. The
Message-ID is the delivery's own, so that a mailbox can drop what was sent twice because an answer was lost.
"""

from __future__ import annotations

import smtplib
from email.utils import parseaddr

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from portal.alerts.channels import SendError, register
from portal.models import Delivery

SUBJECTS = {
    Delivery.Event.OUTAGE_BEGAN: "%(camera)s at %(site)s is down",
    Delivery.Event.OUTAGE_HOUR: "%(camera)s at %(site)s has been down for an hour",
    Delivery.Event.OUTAGE_DAY: "%(camera)s at %(site)s has been down for a day",
    Delivery.Event.OUTAGE_ENDED: "%(camera)s at %(site)s is back",
}


@register(Delivery.Channel.EMAIL)
def send(delivery: Delivery) -> None:
    message = compose(delivery)
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


def compose(delivery: Delivery) -> EmailMultiAlternatives:
    """The message, in the receiver's language, as text and as HTML."""
    user, outage, site = delivery.receiver, delivery.outage, delivery.site
    with translation.override(user.language or settings.LANGUAGE_CODE):
        names = {"camera": delivery.camera.name, "site": site.name}
        subject = " ".join((_(SUBJECTS[Delivery.Event(delivery.event)]) % names).split())
        context = {
            "delivery": delivery,
            "subject": subject,
            "outage": outage,
            "began_at": site.local(outage.began_at),
            "ended_at": site.local(outage.ended_at) if outage.ended_at else None,
            "zone": site.time_zone,
            "link": f"{settings.BASE_URL}{reverse('camera', args=[delivery.camera_id])}",
            "stop": f"{settings.BASE_URL}{reverse('profile')}",
        }
        text = render_to_string("alerts/outage.txt", context)
        html = render_to_string("alerts/outage.html", context)
    host = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    headers = {"Message-ID": f"<{delivery.pk}@{host}>", "Auto-Submitted": "auto-generated"}  # RFC 3834
    message = EmailMultiAlternatives(subject, text, None, [user.email], headers=headers)
    message.attach_alternative(html, "text/html")
    return message
