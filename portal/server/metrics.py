"""/metrics for Prometheus, with a bearer token: what is so now, and counts that only grow (docs/metrics.md lists them).

One scrape of any web process covers all of them and all workers: states are read from the database and Redis when they
are asked for, and counts are kept in Redis (portal/figures/counters.py). A worker that is gone has left Redis within
seconds, and its lines with it. Names and units are those of Prometheus' conventions; labels are sites, cameras, and
words that are fixed.
"""

from __future__ import annotations

import hmac
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import cast

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from cameras.models import Camera, Site
from cameras.redis import LAST_PICTURES_KEY, Errors, connection
from cameras.states import CameraState
from cameras.watching import counts, leases
from detection.manifest import read_manifest
from portal import __version__
from portal.events import notices
from portal.figures import counters
from portal.models import Delivery, Figures, SiteFeed, policy_of
from portal.server.environment import private_file

QUEUE = "default"
WHERE = ("site", "camera")
NAMES = {
    "facemask_build_info": "The version that runs.",
    "facemask_model_info": "The detection model that cameras are watched with unless they name another.",
    "facemask_camera_up": "Whether pictures of the camera come in and are looked at.",
    "facemask_camera_paused": "Whether somebody paused the camera.",
    "facemask_camera_frame_age_seconds": "How old the last picture of the camera is that was looked at.",
    "facemask_camera_reconnects_total": "How often the portal tried to connect to the camera again.",
    "facemask_frames_total": "Frames of the camera: received, analysed, skipped in a still scene, late, or refused.",
    "facemask_worker_cameras": "How many cameras a stream worker watches.",
    "facemask_worker_capacity_cameras": "How many it may watch.",
    "facemask_worker_findings_dropped": "Findings that it lost because it could not write them.",
    "facemask_stage_duration_seconds": "How long a worker takes to decode a frame, to detect, and to follow people.",
    "facemask_people_seen_today": "People seen today whose mask is known, of the site's own day.",
    "facemask_people_masked_today": "Those of them who wore one.",
    "facemask_people_reminded_today": "People without a mask today whom the door reminded.",
    "facemask_people_reminded_masked_today": "Those of them who put one on afterwards.",
    "facemask_people_unasked_today": "People without a mask today whom it did not remind.",
    "facemask_people_unasked_masked_today": "Those of them who put one on all the same.",
    "facemask_compliance_goal_ratio": "The site's goal.",
    "facemask_violations_to_review": "Violations that nobody has reviewed.",
    "facemask_passages_total": "People who were seen and have left, by what was last seen of them.",
    "facemask_violations_total": "Violations that were opened.",
    "facemask_alert_latency_seconds": "From a frame to the row of the violation that it opened.",
    "facemask_deliveries_waiting": "Messages to people and systems elsewhere that wait to be sent.",
    "facemask_deliveries_last_day": "Messages of the last day, by how they went.",
    "facemask_queue_length": "Tasks that wait for the job worker.",
    "facemask_disk_free_bytes": "Free space where the portal keeps its data.",
    "facemask_notice": "What the portal tells its managers about itself; 1 while it lasts.",
}

COUNTED = (  # name here, name in Redis, what is counted apart beside site and camera
    ("facemask_camera_reconnects_total", "reconnects", ()),
    ("facemask_frames_total", "frames", ("stage",)),
    ("facemask_passages_total", "passages", ("label",)),
    ("facemask_violations_total", "violations", ("label",)),
)
TODAY: dict[str, Callable[[Figures], int]] = {
    "seen": lambda day: day.mask + day.no_mask + day.incorrect,
    "masked": lambda day: day.mask,
    "reminded": lambda day: day.reminded,
    "reminded_masked": lambda day: day.reminded_masked,
    "unasked": lambda day: day.unasked,
    "unasked_masked": lambda day: day.unasked_masked,
}


def gauge(name: str, labels: Iterable[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, NAMES[name], labels=list(labels))


class PortalCollector(Collector):
    """Reads everything at the scrape: seven queries to the database, about as many to Redis, however many cameras."""

    def collect(self) -> Iterator[Metric]:
        yield from self._about()
        cameras = list(Camera.objects.filter(deleted_at=None, site__archived_at=None).select_related("site", "lease"))
        yield from self._cameras(cameras)
        yield from self._sites()
        yield from self._deliveries()
        try:
            yield from self._workers()
            yield from self._counts({str(each.pk): [each.site.name, each.name] for each in cameras})
            yield from self._itself()
        except Errors:
            return  # what is in the database is told all the same

    def _about(self) -> Iterator[Metric]:
        build = gauge("facemask_build_info", ["version"])
        build.add_metric([__version__], 1)
        model = gauge("facemask_model_info", ["name", "sha256"])
        manifest = read_manifest()
        model.add_metric([manifest.name, manifest.sha256], 1)
        yield from (build, model)

    def _cameras(self, cameras: list[Camera]) -> Iterator[Metric]:
        up, paused = gauge("facemask_camera_up", WHERE), gauge("facemask_camera_paused", WHERE)
        age, now = gauge("facemask_camera_frame_age_seconds", WHERE), time.time()
        try:
            last = cast("dict[bytes, bytes]", connection().hgetall(LAST_PICTURES_KEY))
        except Errors:
            last = {}
        for camera in cameras:
            where = [camera.site.name, camera.name]
            lease = getattr(camera, "lease", None)
            online = lease is not None and lease.state == CameraState.ONLINE and not camera.paused
            up.add_metric(where, int(online))
            paused.add_metric(where, int(camera.paused))
            if (seen := last.get(str(camera.pk).encode())) is not None:
                age.add_metric(where, round(max(0.0, now - float(seen.split()[0])), 3))
        yield from (up, paused, age)

    def _sites(self) -> Iterator[Metric]:
        people = {name: gauge(f"facemask_people_{name}_today", ["site"]) for name in TODAY}
        goal, waiting = (
            gauge("facemask_compliance_goal_ratio", ["site"]),
            gauge("facemask_violations_to_review", ["site"]),
        )
        now = timezone.now()
        lately = Figures.objects.filter(span="day", camera=None, day__gte=(now - timedelta(days=2)).date())
        days = {(row.site_id, row.day): row for row in lately}
        feeds = dict(SiteFeed.objects.values_list("site_id", "to_review"))
        for site in Site.objects.filter(archived_at=None).select_related("policy"):
            today = days.get((site.pk, site.local(now).date()), Figures())
            for name, read in TODAY.items():
                people[name].add_metric([site.name], read(today))
            goal.add_metric([site.name], policy_of(site).mask_goal / 100)
            waiting.add_metric([site.name], feeds.get(site.pk, 0))
        yield from (*people.values(), goal, waiting)

    def _deliveries(self) -> Iterator[Metric]:
        waiting = gauge("facemask_deliveries_waiting", ["channel"])
        rows = Delivery.objects.order_by().values_list("channel")
        counts = dict(rows.filter(state=Delivery.State.WAITING).annotate(Count("pk")))
        for channel in Delivery.Channel.values:
            waiting.add_metric([channel], counts.get(channel, 0))
        lately = gauge("facemask_deliveries_last_day", ["channel", "result"])
        since = timezone.now() - timedelta(days=1)
        ended = Delivery.objects.filter(created_at__gt=since).exclude(state=Delivery.State.WAITING).order_by()
        for channel, state, count in ended.values_list("channel", "state").annotate(Count("pk")):
            lately.add_metric([channel, state], count)
        yield from (waiting, lately)

    def _workers(self) -> Iterator[Metric]:
        watching, capacity = (
            gauge("facemask_worker_cameras", ["worker"]),
            gauge("facemask_worker_capacity_cameras", ["worker"]),
        )
        dropped = gauge("facemask_worker_findings_dropped", ["worker"])
        living = leases.living_workers()
        for worker in living:
            watching.add_metric([worker.name], len(worker.watching))
            capacity.add_metric([worker.name], worker.capacity)
            dropped.add_metric([worker.name], worker.dropped)
        yield from (watching, capacity, dropped)
        name = "facemask_stage_duration_seconds"
        took = HistogramMetricFamily(name, NAMES[name], labels=["worker", "stage"])
        for worker, found in zip(living, counts.read_stages([worker.name for worker in living]), strict=True):
            for stage in found:
                took.add_metric([worker.name, stage.name], stage.buckets, stage.sum_s)
        yield took

    def _counts(self, cameras: dict[str, list[str]]) -> Iterator[Metric]:
        found = counters.read()
        for name, field, label in COUNTED:
            family = CounterMetricFamily(name.removesuffix("_total"), NAMES[name], labels=[*WHERE, *label])
            for (kind, *labels), value in found.items():
                if kind == field and labels[0] in cameras:
                    family.add_metric([*cameras[labels[0]], *labels[1:]], value)
            yield family
        name = "facemask_alert_latency_seconds"
        latency = HistogramMetricFamily(name, NAMES[name])
        buckets = [(f"{bound:g}", found.get(("alert_bucket", str(bound)), 0)) for bound in counters.LATENCY_BUCKETS_S]
        count = found.get(("alert_count",), 0)
        latency.add_metric([], [*buckets, ("+Inf", count)], found.get(("alert_sum",), 0))
        yield latency

    def _itself(self) -> Iterator[Metric]:
        queue = gauge("facemask_queue_length")
        queue.add_metric([], connection().llen(QUEUE))
        free = gauge("facemask_disk_free_bytes")
        free.add_metric([], shutil.disk_usage(settings.DATA_DIR).free)
        told = gauge("facemask_notice", ["kind"])
        for kind in notices.current_notices():
            told.add_metric([kind], 1)
        yield from (queue, free, told)


def token() -> str:
    """METRICS_TOKEN, or the one that was made once in DATA_DIR."""
    if settings.METRICS_TOKEN:
        return str(settings.METRICS_TOKEN)
    path = Path(settings.DATA_DIR) / "metrics-token.txt"
    if not path.exists():
        private_file(path, secrets.token_urlsafe(32))
    return path.read_text().strip()


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token()}".encode()):
        answer = HttpResponse("Send the bearer token of METRICS_TOKEN or DATA_DIR/metrics-token.txt.\n", status=401)
        answer["WWW-Authenticate"] = "Bearer"
        return answer
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PortalCollector())
    answer = HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    answer["Cache-Control"] = "no-store"
    return answer
