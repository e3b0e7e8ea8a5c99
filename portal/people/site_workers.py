"""The keys of workers at sites: made, known when they call, and revoked."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from cameras.models import CameraLease, Site, SiteWorker
from cameras.watching import leases
from portal.people.memberships import hash_of

MOST = 20  # of a site
SEEN_EVERY = timedelta(seconds=30)  # how exactly "last seen" is kept
BEGINS = "worker_"  # so that a key is known for one wherever it turns up


@transaction.atomic
def make(site: Site, name: str) -> tuple[SiteWorker, str]:
    """A worker and its key, which cannot be read again later. From the first on, only they watch the site's cameras."""
    key = BEGINS + secrets.token_urlsafe(32)
    made = SiteWorker.objects.create(site=site, name=name, key_hash=hash_of(key))
    Site.objects.filter(pk=site.pk).update(has_workers=True)
    return made, key


def worker_of(key: str) -> SiteWorker | None:
    """The worker with this key, with its site and policy; None if there is none, or it was revoked. One query."""
    if not key.startswith(BEGINS):
        return None
    known = SiteWorker.objects.filter(revoked_at=None, site__archived_at=None).select_related("site__policy")
    return known.filter(key_hash=hash_of(key)).first()


def note_seen(worker: SiteWorker, version: str) -> None:
    """That it called, now and then."""
    now = timezone.now()
    if worker.last_seen_at is None or worker.version != version or worker.last_seen_at < now - SEEN_EVERY:
        SiteWorker.objects.filter(pk=worker.pk).update(last_seen_at=now, version=version)


@transaction.atomic
def revoke(worker: SiteWorker) -> None:
    """Its key is not valid any more, and what it held is free. After the last one, the portal's own workers watch."""
    SiteWorker.objects.filter(pk=worker.pk, revoked_at=None).update(revoked_at=timezone.now())
    for camera_id, token in CameraLease.objects.filter(worker=worker.worker_name).values_list("camera_id", "token"):
        leases.release(camera_id, token)
    left = SiteWorker.objects.filter(site_id=worker.site_id, revoked_at=None).exists()
    Site.objects.filter(pk=worker.site_id).update(has_workers=left)
