"""Who may do what: the table of docs/access.md, by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core import signing
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from PIL import Image

from cameras import tasks
from cameras.models import Camera, CameraSpot, CameraZone, Outage, Site, SiteWorker
from cameras.reach.addresses import clips_folder
from cameras.reach.credentials import seal
from cameras.reach.place import Place
from cameras.redis import connection as redis_connection
from cameras.setup import probe
from portal.devices import pairing
from portal.events.recording import record
from portal.models import (
    BulkReview,
    Delivery,
    Destination,
    DeviceToken,
    Invitation,
    Membership,
    Pairing,
    Program,
    PushSubscription,
    Rule,
    User,
    Violation,
)
from portal.pages.people import UNDO_SALT
from portal.people import access, memberships, programs, site_workers
from portal.people.pictures import PictureView, render, render_glimpse
from tests.html import squeezed
from tests.worlds import BOX, World, glimpse_record, see

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
WHO = ("root", "alice", "bob", "vera", "charlie", "stranger", None)

# What each of WHO gets: status, or "login" for a redirect to the sign-in page. {x} is something of Harbour House,
# {x2} the same of Maple Tower: every route with an id is listed here with both.
TABLE = [
    ("GET", "/", (200, 200, 200, 200, 200, 200, "login")),
    ("GET", "/strip/", (200, 200, 200, 200, 200, 200, "login")),
    ("GET", "/violations/", (200, 200, 200, 200, 200, 200, "login")),
    ("GET", "/violations/{violation}/", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/violations/{violation2}/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/violations/review/forget/", (302, 302, 302, 302, 302, 302, "login")),
    ("POST", "/violations/{violation}/erase/ sure=yes", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/violations/{violation2}/erase/ sure=yes", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/violations/{violation}/snapshot.jpg", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/violations/{violation2}/snapshot.jpg", (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/violations/{violation}/snapshot.jpg?download", (200, 200, 200, 403, 404, 404, "login")),
    ("GET", "/violations/{violation2}/snapshot.jpg?download", (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/violations/{violation}/strip/2.jpg", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/violations/{violation2}/strip/2.jpg", (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/violations/{violation}/face.jpg", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/violations/{violation2}/face.jpg", (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/violations/{violation}/thumbnail.jpg", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/violations/{violation2}/thumbnail.jpg", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/violations/review/ seen={violation}:0 decision=confirm", (302, 302, 302, 403, 404, 404, "login")),
    ("POST", "/violations/review/ seen={violation2}:0 decision=confirm", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/violations/review/ seen={violation}:0 decision=dismiss", (302, 302, 302, 403, 404, 404, "login")),
    ("POST", "/violations/review/ seen={violation}:0 decision=note note=x", (302, 302, 302, 403, 404, 404, "login")),
    ("GET", "/cameras/", (200, 200, 403, 403, 200, 404, "login")),
    ("GET", "/cameras/add/", (200, 200, 403, 403, 200, 404, "login")),
    ("POST", "/cameras/add/ site={site} name=New make=clip address=x.mp4 view=320 transport=tcp analyses_per_second=5",
     (302, 302, 403, 403, 422, 404, "login")),
    ("POST", "/cameras/add/ site={site2} name=New make=clip address=x.mp4 view=320 transport=tcp analyses_per_second=5",
     (302, 422, 403, 403, 302, 404, "login")),
    ("POST", "/cameras/test/ site={site} make=clip address=x.mp4 view=320 transport=tcp analyses_per_second=5",
     (202, 202, 403, 403, 422, 404, "login")),
    ("POST", "/cameras/test/ site={site2} make=clip address=x.mp4 view=320 transport=tcp analyses_per_second=5",
     (202, 422, 403, 403, 202, 404, "login")),
    ("POST", "/cameras/test/ camera={camera} make=clip address=x.mp4 view=320 transport=tcp analyses_per_second=5",
     (202, 202, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/test/ camera={camera2} make=clip address=x.mp4 view=320 transport=tcp analyses_per_second=5",
     (202, 404, 403, 403, 202, 404, "login")),
    ("GET", "/cameras/tests/{probe}/", (404, 200, 404, 404, 404, 404, "login")),  # only for the person who typed it
    ("GET", "/cameras/tests/{probe2}/", (404, 404, 404, 404, 200, 404, "login")),
    ("GET", "/cameras/tests/{probe}/picture.jpg", (404, 200, 404, 404, 404, 404, "login")),
    ("GET", "/cameras/tests/{probe2}/picture.jpg", (404, 404, 404, 404, 200, 404, "login")),
    ("GET", "/cameras/{camera}/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/cameras/{camera2}/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/cameras/{camera}/ name=New make=clip address=x.mp4 view=320 transport=tcp analyses_per_second=5",
     (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/ name=New make=clip address=x.mp4 view=320 transport=tcp analyses_per_second=5",
     (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/cameras/add/demo/ site={site}", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera}/duplicate/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/duplicate/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/cameras/{camera}/pause/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/pause/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/cameras/{camera}/resume/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/resume/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/cameras/{camera}/delete/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/delete/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/cameras/{camera}/restore/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/restore/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/cameras/{camera}/zones/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/cameras/{camera2}/zones/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/cameras/{camera}/zones/ kind=ignore points=0,0", (422, 422, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/zones/ kind=ignore points=0,0", (422, 404, 404, 404, 422, 404, "login")),
    ("GET", "/cameras/{camera}/now.jpg", (404, 404, 403, 403, 404, 404, "login")),
    ("GET", "/cameras/{camera2}/now.jpg", (404, 404, 404, 404, 404, 404, "login")),
    ("POST", "/zones/{zone}/delete/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/zones/{zone2}/delete/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/zones/{zone}/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/zones/{zone2}/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/spots/{spot}/ answer=people", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/spots/{spot2}/ answer=ignore", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/violations/{violation}/ignore-spot/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/violations/{violation2}/ignore-spot/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/cameras/{camera}/voice/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/cameras/{camera2}/voice/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/cameras/{camera}/voice/ output=loudspeaker reminder_after_s=3", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/voice/ output=loudspeaker reminder_after_s=3",
     (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/cameras/{camera}/voice/play/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/voice/play/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/cameras/{camera}/voice/said/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/cameras/{camera2}/voice/said/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/cameras/{camera}/loudspeaker/", (200, 200, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/loudspeaker/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/cameras/{camera}/loudspeaker/unpair/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/loudspeaker/unpair/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/devices/add/", (200, 200, 403, 403, 200, 404, "login")),
    ("POST", "/devices/add/ site={site}", (200, 200, 403, 403, 422, 404, "login")),
    ("POST", "/devices/add/ site={site2}", (200, 422, 403, 403, 200, 404, "login")),
    ("GET", "/devices/pairings/{pairing}/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/devices/pairings/{pairing2}/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/cameras/{device}/pair/", (200, 200, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{device2}/pair/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/cameras/{device}/unpair/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/cameras/{device2}/unpair/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/sites/", (200, 200, 403, 403, 200, 404, "login")),
    ("GET", "/workers/", (200, 403, 403, 403, 403, 404, "login")),
    ("POST", "/workers/drain/", (404, 403, 403, 403, 403, 404, "login")),
    ("GET", "/sites/add/", (200, 403, 403, 403, 403, 404, "login")),
    ("POST", "/sites/add/ name=New time_zone=UTC language=en mask_goal=95 retention_days=30",
     (302, 403, 403, 403, 403, 404, "login")),
    ("GET", "/sites/{site}/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/sites/{site2}/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/sites/{site}/ name=New time_zone=UTC language=en mask_goal=95 retention_days=30",
     (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/sites/{site2}/ name=New time_zone=UTC language=en mask_goal=95 retention_days=30",
     (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/sites/{site}/voice/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/sites/{site2}/voice/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/sites/{site}/voice/ thanks=on", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/sites/{site2}/voice/ thanks=on", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/sites/{site}/deliveries/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/sites/{site2}/deliveries/", (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/sites/{site}/programs/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/sites/{site2}/programs/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/sites/{site}/programs/ name=P rights=figures", (200, 200, 403, 403, 404, 404, "login")),
    ("POST", "/sites/{site2}/programs/ name=P rights=figures", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/programs/{program}/revoke/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/programs/{program2}/revoke/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/violations/all/{bulk}/", (404, 200, 404, 404, 404, 404, "login")),
    ("GET", "/violations/all/{bulk2}/", (404, 404, 404, 404, 200, 404, "login")),
    ("POST", "/violations/all/{bulk}/undo/", (404, 302, 404, 404, 404, 404, "login")),
    ("POST", "/violations/all/{bulk2}/undo/", (404, 404, 404, 404, 302, 404, "login")),
    ("GET", "/sites/{site}/workers/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/sites/{site2}/workers/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/sites/{site}/workers/ name=W", (200, 200, 403, 403, 404, 404, "login")),
    ("POST", "/sites/{site2}/workers/ name=W", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/site-workers/{worker}/revoke/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/site-workers/{worker2}/revoke/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/sites/{site}/rules/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/sites/{site2}/rules/", (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/sites/{site}/rules/add/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/sites/{site2}/rules/add/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/sites/{site}/rules/add/ name=R topics=outage during=always roles=manager by_email=on repeats=5",
     (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/sites/{site2}/rules/add/ name=R topics=outage during=always roles=manager by_email=on repeats=5",
     (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/rules/{rule}/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/rules/{rule2}/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/rules/{rule}/ name=R topics=outage during=always roles=manager by_email=on repeats=5",
     (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/rules/{rule2}/ name=R topics=outage during=always roles=manager by_email=on repeats=5",
     (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/rules/{rule}/delete/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/rules/{rule2}/delete/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/sites/{site}/destinations/add/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/sites/{site2}/destinations/add/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/sites/{site}/destinations/add/ name=D kind=webhook address=https://example.org/x",
     (200, 200, 403, 403, 404, 404, "login")),
    ("POST", "/sites/{site2}/destinations/add/ name=D kind=webhook address=https://example.org/x",
     (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/destinations/{destination}/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/destinations/{destination2}/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/destinations/{destination}/ name=D kind=webhook", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/destinations/{destination2}/ name=D kind=webhook", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/destinations/{destination}/delete/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/destinations/{destination2}/delete/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/destinations/{destination}/test/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/destinations/{destination2}/test/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/told/{told}/", (302, 302, 302, 302, 404, 404, "login")),
    ("GET", "/told/{told2}/", (302, 404, 404, 404, 302, 404, "login")),
    ("GET", "/told/{told}/quiet/", (302, 302, 302, 403, 404, 404, "login")),
    ("GET", "/told/{told2}/quiet/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/cameras/{camera}/quiet/", (302, 302, 302, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/quiet/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/cameras/{camera}/loud/", (302, 302, 302, 403, 404, 404, "login")),
    ("POST", "/cameras/{camera2}/loud/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/profile/rules/{rule}/ to=stop", (404, 302, 404, 404, 404, 404, "login")),
    ("POST", "/profile/rules/{rule2}/ to=stop", (404, 404, 404, 404, 302, 404, "login")),
    ("POST", "/profile/push/{browser}/test/", (404, 302, 404, 404, 404, 404, "login")),
    ("POST", "/profile/push/{browser2}/test/", (404, 404, 404, 404, 302, 404, "login")),
    ("POST", "/profile/push/{browser}/off/", (302, 302, 302, 302, 302, 302, "login")),
    ("POST", "/profile/push/{browser2}/off/", (302, 302, 302, 302, 302, 302, "login")),
    ("POST", "/profile/mail/test/", (302, 302, 302, 302, 302, 302, "login")),
    ("POST", "/profile/push/", (400, 400, 400, 400, 400, 400, "login")),
    ("GET", "/figures/", (200, 200, 200, 200, 200, 200, "login")),
    ("GET", "/figures/?site={site}", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/figures/?site={site2}", (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/violations.csv", (200, 200, 200, 200, 200, 404, "login")),
    ("GET", "/figures.csv?camera={camera}", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/figures.csv?camera={camera2}", (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/more/", (200, 200, 200, 200, 200, 200, "login")),
    ("GET", "/news/", (200, 200, 200, 200, 200, 200, "login")),
    ("POST", "/deliveries/{delivery}/again/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/deliveries/{delivery2}/again/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/sites/{site}/archive/", (302, 403, 403, 403, 403, 404, "login")),
    ("POST", "/sites/{site2}/archive/", (302, 403, 403, 403, 403, 404, "login")),
    ("POST", "/sites/{site}/restore/", (302, 403, 403, 403, 403, 404, "login")),
    ("POST", "/sites/{site2}/restore/", (302, 403, 403, 403, 403, 404, "login")),
    ("GET", "/people/", (200, 200, 403, 403, 200, 404, "login")),
    ("POST", "/people/invite/ email=new@example.org site={site} role=viewer", (200, 200, 403, 403, 422, 404, "login")),
    ("POST", "/people/invite/ email=new@example.org site={site2} role=viewer", (200, 422, 403, 403, 200, 404, "login")),
    ("POST", "/people/invitations/{invitation}/renew/", (200, 200, 403, 403, 404, 404, "login")),
    ("POST", "/people/invitations/{invitation2}/renew/", (200, 404, 404, 404, 200, 404, "login")),
    ("POST", "/people/invitations/{invitation}/withdraw/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/people/invitations/{invitation2}/withdraw/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/people/roles/{role}/ role=viewer", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/people/roles/{role2}/ role=viewer", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/people/roles/{role}/remove/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/people/roles/{role2}/remove/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/people/roles/{role}/hand-over/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/people/roles/{role2}/hand-over/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/people/bring-back/{kept}/", (302, 302, 403, 403, 404, 404, "login")),
    ("POST", "/people/bring-back/{kept2}/", (302, 404, 404, 404, 302, 404, "login")),
    ("POST", "/people/{bob}/password-link/", (200, 200, 403, 403, 404, 404, "login")),
    ("POST", "/people/{charlie}/password-link/", (200, 404, 404, 404, 200, 404, "login")),
    ("GET", "/audit/", (200, 200, 403, 403, 200, 404, "login")),
    ("GET", "/audit.csv", (200, 200, 403, 403, 200, 404, "login")),
    ("GET", "/profile/", (200, 200, 200, 200, 200, 200, "login")),
    ("POST", "/profile/ name=New theme=dark", (302, 302, 302, 302, 302, 302, "login")),
    ("POST", "/profile/password/ old_password=wrong", (422, 422, 422, 422, 422, 422, "login")),
    ("POST", "/profile/sign-out-everywhere/", (302, 302, 302, 302, 302, 302, "login")),
    ("GET", "/profile/two-factor/", (200, 200, 200, 200, 200, 200, "login")),
    ("POST", "/profile/two-factor/off/ password=wrong", (302, 302, 302, 302, 302, 302, "login")),
    ("POST", "/profile/recovery-codes/", (302, 302, 302, 302, 302, 302, "login")),
    ("GET", "/admin/portal/violation/", (200, 302, 302, 302, 302, 302, 302)),
    ("GET", "/admin/portal/auditentry/", (200, 302, 302, 302, 302, 302, 302)),
    ("GET", "/admin/cameras/camera/{camera}/change/", (200, 302, 302, 302, 302, 302, 302)),
]  # fmt: skip
PUBLIC = {"login", "logout", "second_factor", "password_reset", "password_reset_done", "password_reset_confirm",
          "offline", "first_user", "healthz", "readyz", "invitation", "connect", "authority", "pair",
          "pair_look", "pair_redeem", "door", "door_leave", "speaker", "voice_audio",
          "try", "try_manifest", "try_model", "push_worker", "stop", "metrics"}  # fmt: skip


def deliver(camera: Camera, receiver: User) -> Delivery:
    outage = Outage.objects.create(camera=camera, began_at=timezone.now(), reason="")
    return Delivery.objects.create(
        site=camera.site, camera=camera, outage=outage, event="outage.began", about=str(outage.pk), channel="email",
        lane=f"email:{receiver.pk}", receiver=receiver,
    )  # fmt: skip


def things_of(world: World) -> dict[str, object]:
    """The values of the placeholders in the table."""
    found: dict[str, object] = {}
    for mark, camera, manager in (("", world.door, world.alice), ("2", world.hall, world.charlie)):
        site = camera.site
        asked = probe.ask(site.pk, manager.pk, probe.Typed(Place("clip", "x.mp4")))
        redis_connection().set(probe.picture_key(asked.pk), b"jpeg")
        guest = User.objects.create_user(f"guest{mark}@example.org", name="Guest")
        record(glimpse_record(shown := see(camera)))
        kept = {"user": guest.pk, "site": site.pk, "role": "viewer"}
        found |= {
            f"site{mark}": site.pk,
            f"camera{mark}": camera.pk,
            f"violation{mark}": shown.pk,
            f"probe{mark}": asked.pk,
            f"invitation{mark}": memberships.invite("friend@example.org", site, "viewer", manager)[0].pk,
            f"role{mark}": Membership.objects.create(user=guest, site=site, role="reviewer").pk,
            f"device{mark}": pairing.redeem(pairing.invite(site, manager)[1], "Phone")[0].pk,
            f"pairing{mark}": pairing.invite(site, manager)[0].pk,
            f"delivery{mark}": (told := deliver(camera, manager)).pk,
            f"told{mark}": told.key,
            f"zone{mark}": CameraZone.objects.create(camera=camera, points=[[0, 0], [1, 0], [1, 1]]).pk,
            f"spot{mark}": CameraSpot.objects.create(
                pk=uuid4(), camera=camera, box=BOX, visits=5, first_at=timezone.now(), last_at=timezone.now()
            ).pk,
            f"bulk{mark}": BulkReview.objects.create(user=manager, status="confirmed").pk,
            f"worker{mark}": site_workers.make(site, "W")[0].pk,
            f"program{mark}": programs.make(site, "P", ["figures"], manager)[0].pk,
            f"rule{mark}": site.rules.get(name="Trouble").pk,
            f"destination{mark}": Destination.objects.create(
                site=site, name="D", sealed_address=seal("http://127.0.0.1/x"), sealed_secret=seal("whsec_YQ==")
            ).pk,
            f"browser{mark}": PushSubscription.objects.create(
                user=manager, endpoint=f"https://web.push.apple.com/{mark}"
            ).pk,
            f"kept{mark}": signing.dumps(kept, salt=UNDO_SALT),
        }
    return found | {"bob": world.bob.pk, "charlie": world.charlie.pk}


@pytest.fixture
def clip(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip that a camera may name; tests of addresses are not carried out."""
    settings.DATA_DIR = tmp_path
    (clips_folder() / "x.mp4").write_bytes(b"x")
    monkeypatch.setattr("portal.pages.zones.PICTURE_WITHIN_S", 0.0)
    monkeypatch.setattr(tasks, "send_probe", lambda probe_id, site_id, at_site: True)


@pytest.mark.parametrize(("method", "path", "expected"), TABLE, ids=lambda value: str(value)[:90])
def test_who_may_do_what(
    world: World, sign_in: SignIn, clip: None, method: str, path: str, expected: tuple[int | str, ...]
) -> None:
    """One world per row: what one person did is rolled back before it is the next one's turn."""
    things = things_of(world)
    address, *fields = path.format(**things).split(" ")
    form = dict(field.split("=", 1) for field in fields)
    before = state_of()
    got = {}
    asked = list(zip(WHO, expected, strict=True))
    if connection.vendor == "postgresql":  # who may do what is the same there; what a page asks of it may not be
        asked = asked[1:2]
    for who, wanted in asked:
        start = transaction.savepoint()
        client = sign_in(getattr(world, who)) if who else Client()
        signed_in = state_of()
        answer = client.get(address) if method == "GET" else client.post(address, form)
        is_login = answer.status_code == 302 and answer["Location"].startswith("/sign-in/")
        got[who] = "login" if is_login and wanted == "login" else answer.status_code
        if wanted not in {200, 202, 302}:
            assert state_of() == signed_in, f"what {who} is refused changes nothing"
        transaction.savepoint_rollback(start)
        assert state_of() == before, "the next one finds the same world"
    assert got == dict(asked)


CHANGEABLE = (
    Violation, Camera, Site, Membership, Invitation, User, Pairing, DeviceToken, Rule, Destination, Program, CameraZone,
    SiteWorker, BulkReview,
)  # fmt: skip


def state_of() -> list[object]:
    """All rows that the table's forms could change; read without models, as it is asked thousands of times."""
    found: list[object] = []
    with connection.cursor() as cursor:
        for model in CHANGEABLE:
            cursor.execute(f"SELECT * FROM {model._meta.db_table} ORDER BY {model._meta.pk.column}")
            found += cursor.fetchall()
    return found


def test_every_address_has_its_row_or_is_public() -> None:
    """A new page without a row in the table fails here, and so does one with an id but no row for another site."""
    from django.urls import get_resolver, resolve

    from portal.urls import urlpatterns

    key = "00000000-0000-0000-0000-000000000001"
    kinds = ("violation", "probe", "told", "browser", "spot", "bulk")
    names = dict.fromkeys((*kinds, *(f"{kind}2" for kind in kinds)), key)
    numbers = dict.fromkeys(("site", "camera", "device", "pairing", "invitation", "role", "kept", "bob", "charlie"), 1)
    numbers |= dict.fromkeys(("delivery", "rule", "destination", "program", "zone", "worker"), 1)
    numbers |= {f"{name}2": 1 for name in numbers}
    rows: dict[str, set[str]] = {}
    for _, path, _ in TABLE:
        address = path.split(" ")[0]
        found = resolve(address.split("?")[0].format(**names, **numbers))
        rows.setdefault(str(found.url_name), set()).add(address)
    named = {pattern.name: str(pattern.pattern) for pattern in urlpatterns if getattr(pattern, "name", None)}
    assert named.keys() <= rows.keys() | PUBLIC, named.keys() - rows.keys() - PUBLIC
    for name, pattern in named.items():
        if "<" in pattern and name not in PUBLIC:
            foreign = {address for address in rows[name] if "2}" in address or "{charlie}" in address}
            assert foreign, f"{name} has no row with another site's id"
    assert get_resolver().url_patterns == urlpatterns


def test_a_list_shows_only_the_own_sites(world: World, sign_in: SignIn) -> None:
    here, there = see(world.door), see(world.hall)
    page = sign_in(world.charlie).get("/violations/").content.decode()
    assert str(there.pk) in page and str(here.pk) not in page
    assert "Harbour House" not in page, "not even the name of a site that is not hers"
    assert "Front door" not in sign_in(world.charlie).get("/").content.decode()
    assert str(here.pk) not in sign_in(world.stranger).get("/violations/").content.decode()


def test_a_viewer_sees_the_face_pixelated_and_the_rest_as_it_is(world: World, sign_in: SignIn) -> None:
    violation = see(world.door)

    def pixels(user: User) -> Image.Image:
        answer = sign_in(user).get(f"/violations/{violation.pk}/snapshot.jpg")
        assert answer["Cache-Control"] == "private, no-store"
        return Image.open(io.BytesIO(answer.content)).convert("RGB")

    def colours(picture: Image.Image) -> int:
        return len(picture.crop((262, 112, 378, 248)).quantize(64).getcolors() or [])

    def contrast(picture: Image.Image) -> float:
        row: list[int] = [picture.getpixel((x, 180))[0] for x in range(262, 378)]  # type: ignore[index]
        return sum(abs(a - b) for a, b in zip(row, row[1:], strict=False)) / len(row)

    plain, hidden = pixels(world.bob), pixels(world.vera)
    assert contrast(plain) > 8 * contrast(hidden)
    assert plain.getpixel((20, 20)) == pytest.approx(hidden.getpixel((20, 20)), abs=6)


def test_every_view_of_a_picture_hides_the_face_from_a_viewer(world: World) -> None:
    violation = see(world.door)
    for view in PictureView:
        assert render(violation, access.Audience.PIXELATED, view) != render(violation, access.Audience.FACES, view)
    record(glimpse_record(violation))
    glimpse = violation.glimpses.get()
    assert render_glimpse(glimpse, access.Audience.PIXELATED) != render_glimpse(glimpse, access.Audience.FACES)


def test_a_role_that_is_taken_away_or_an_account_that_is_off_sees_nothing(world: World, sign_in: SignIn) -> None:
    violation = see(world.door)
    client = sign_in(world.bob)
    assert client.get(f"/violations/{violation.pk}/").status_code == 200
    Membership.objects.filter(user=world.bob).delete()
    assert client.get(f"/violations/{violation.pk}/").status_code == 404
    client = sign_in(world.alice)
    User.objects.filter(pk=world.alice.pk).update(is_active=False)
    assert client.get(f"/violations/{violation.pk}/snapshot.jpg").status_code == 302


def test_a_manager_makes_no_password_link_that_makes_her_more_than_she_is(world: World, sign_in: SignIn) -> None:
    Membership.objects.create(user=world.root, site=world.here, role="viewer")
    Membership.objects.create(user=world.charlie, site=world.here, role="viewer")
    client = sign_in(world.alice)
    for colleague in (world.root, world.charlie):
        assert client.post(f"/people/{colleague.pk}/password-link/").status_code == 403


def test_only_what_one_may_review_can_be_chosen(world: World, sign_in: SignIn) -> None:
    Membership.objects.create(user=world.bob, site=world.there, role="viewer")
    here, there = see(world.door), see(world.hall)
    page = squeezed(sign_in(world.bob).get("/violations/"))
    assert f'name="seen" value="{here.pk}:0"' in page and f'value="{there.pk}' not in page


def test_scopes_are_read_in_two_queries_for_any_number_of_people(
    world: World, django_assert_num_queries: Callable[[int], object]
) -> None:
    with django_assert_num_queries(2):  # type: ignore[attr-defined]
        scopes = access.scopes([world.alice.pk, world.bob.pk, world.charlie.pk, world.stranger.pk])
    assert scopes[world.alice.pk].site_ids == {world.here.pk}
    assert scopes[world.stranger.pk].site_ids == frozenset()


def test_the_same_review_of_two_sites_needs_the_right_at_both(world: World, sign_in: SignIn) -> None:
    Membership.objects.create(user=world.bob, site=world.there, role="viewer")
    seen = [f"{see(camera).pk}:0" for camera in (world.door, world.hall)]
    answer = sign_in(world.bob).post("/violations/review/", {"seen": seen, "decision": "confirm"})
    assert answer.status_code == 403
    assert not Violation.objects.exclude(status="open").exists()
