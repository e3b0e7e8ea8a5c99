"""Who watches what: token, time-to-live, compare-and-swap, reconcile.

A lease's row in the database says which worker a camera was given to, and under which token; a key in Redis with a
time-to-live says that the worker is alive. Worked example with two workers:

    north takes camera 7:   row (token 4 → 5, worker north), reign 5 [10:00:00, …
    north watches:          key lease:7 = "north 5", renewed every 3 s, gone 8 s after the last renewal
    north dies at 10:04:00: the key is gone at 10:04:08; reconcile, in south, takes the lease:
                            row (token 5 → 6, worker south), reign 5 [10:00:00, 10:04:09), reign 6 [10:04:09, …
    north's spool is read at 10:20: what it saw before 10:04:09 is accepted, what it saw later is not
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import cast

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from cameras.models import Camera, CameraLease, Outage, Reign
from cameras.redis import (
    DRAINED_KEY,
    ERA_KEY,
    LEADER_KEY,
    WORKERS_KEY,
    Errors,
    ask_back_key,
    connection,
    lease_key,
    worker_key,
)
from cameras.states import CameraState
from cameras.watching import seen, uptime

log = logging.getLogger(__name__)

TIME_TO_LIVE_S = 8
RENEW_EVERY_S = 3.0
LEADS_FOR_S = 5  # without another round; less than a time-to-live, as a leader's cameras are not to wait for both
RECONCILE_EVERY_S = 1.0
RING_AGAIN_S = 10.0
DELETE_IF_EQUAL = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end"
MOVE_EVERY_S = 15.0
CALM_WITHIN_S = 60.0
UNEVEN = 0.15  # of a machine's processors, between the busiest and the idlest
CAMERA_LOAD = 0.04  # what a camera will need, as long as that was not measured
LOAD_STEP = 0.05  # less than this is no difference
MOST_CRASHES = 2  # of a worker, by one camera, within an hour: then it is handed out no more
RINGS = 3  # unanswered, after which the camera goes to another worker
AT_SITE = "site:"  # how the names of workers at a site begin
Ring = Callable[[str, int, int], None]  # worker, camera, token


@dataclass(frozen=True)
class WorkerState:
    """What a stream worker reports about itself.

    Args:
        instance: of one run of the worker; two runs never share one.
        site_ids: the sites that it serves; empty means all.
        trouble: why it cannot write its spool, in the system's words; empty when all is well.
        dropped: how many findings it lost because it could not write them for too long.
        beat: grows with each time that it is said; by it others see that the worker is alive, on a clock of their own.
        load: how much of its machine's processors it has used lately, 0 to 1.
        calm: those of the cameras that it watches in which nobody is in view.
        version: of the portal.
        is_drained: whether an operator wants it empty; it does not say so itself. It is given no camera, and gives its
            own away where there is room.
    """

    name: str
    instance: str
    capacity: int
    site_ids: tuple[int, ...] = ()
    watching: tuple[int, ...] = ()
    trouble: str = ""
    dropped: int = 0
    beat: int = 0
    load: float = 0.0
    calm: tuple[int, ...] = ()
    version: str = ""
    is_drained: bool = False

    @property
    def room(self) -> int:
        """How many cameras it may have."""
        return 0 if self.is_drained else self.capacity

    @property
    def is_at_site(self) -> bool:
        """Whether it is one of a site's own workers (SiteWorker), and watches what no other reaches."""
        return self.name.startswith(AT_SITE)

    def serves(self, site_id: int, at_site: bool) -> bool:
        """Whether it may watch a camera of this site; `at_site` as in Camera.is_at_site."""
        return self.is_at_site == at_site and (not self.site_ids or site_id in self.site_ids)

    def encode(self) -> str:
        return json.dumps(asdict(self))


def decode_worker(text: bytes | str) -> WorkerState:
    """What a worker said; a newer one may say more than is known here."""
    known = {each.name for each in fields(WorkerState)}
    given = {name: value for name, value in json.loads(text).items() if name in known}
    lists = {name: tuple(given[name]) for name in ("site_ids", "watching", "calm") if name in given}
    return WorkerState(**(given | lists))


def announce(state: WorkerState, is_gone: Callable[[str], bool] = lambda instance: False) -> bool:
    """Announce that this worker is alive; False if another living worker has its name.

    Args:
        is_gone: whether the process of this instance is known to have ended; then its time-to-live is not waited for.
    """
    key = worker_key(state.name)
    current = cast("bytes | None", connection().get(key))
    if current is not None and (instance := decode_worker(current).instance) != state.instance:
        if not is_gone(instance):
            return False
        if leader().startswith(f"{state.name} {instance} "):
            connection().delete(LEADER_KEY)
    pipeline = connection().pipeline(transaction=False)
    pipeline.set(key, state.encode(), ex=TIME_TO_LIVE_S)
    pipeline.sadd(WORKERS_KEY, state.name)
    pipeline.execute()
    return True


def withdraw(state: WorkerState) -> None:
    """Say goodbye, so that nobody waits for the time-to-live to run out."""
    connection().delete(worker_key(state.name))
    connection().srem(WORKERS_KEY, state.name)


def leader() -> str:
    """Who hands out cameras: "name instance beat"; empty if nobody does."""
    return cast("bytes", connection().get(LEADER_KEY) or b"").decode()


def registered_workers() -> list[str]:
    """The names of all workers that did not say goodbye."""
    return sorted(name.decode() for name in cast("set[bytes]", connection().smembers(WORKERS_KEY)))


def living_workers() -> list[WorkerState]:
    """The stream workers whose time-to-live has not run out."""
    return states_of(registered_workers())


def states_of(names: list[str]) -> list[WorkerState]:
    """What these workers say of themselves; nothing of those whose time-to-live has run out."""
    if not names:
        return []
    values = cast("list[bytes | None]", connection().mget([worker_key(name) for name in names]))
    drained = drained_workers()
    states = (decode_worker(value) for value in values if value is not None)
    return [replace(state, is_drained=state.name in drained) for state in states]


def drain(worker: str, wanted: bool) -> None:
    """Empty a worker, before its machine is switched off, say; or use it again."""
    if wanted:
        connection().sadd(DRAINED_KEY, worker)
    else:
        connection().srem(DRAINED_KEY, worker)


def drained_workers() -> set[str]:
    return {name.decode() for name in cast("set[bytes]", connection().smembers(DRAINED_KEY))}


# -- one lease ------------------------------------------------------------------------------------------------------


@transaction.atomic
def take(camera_id: int, token: int, worker: str, now: datetime | None = None) -> int | None:
    """Give a camera to a worker, by compare-and-swap: if `token` is still the lease's. Returns the new one, or None."""
    now = now or timezone.now()
    was_watched = CameraLease.objects.filter(camera_id=camera_id, token=token).exclude(worker="").exists()
    swapped = CameraLease.objects.filter(camera_id=camera_id, token=token).update(
        token=token + 1, worker=worker, taken_at=now, state=CameraState.WAITING, state_since=now, state_detail=""
    )
    if not swapped:
        return None
    Reign.objects.filter(camera_id=camera_id, ended_at__isnull=True).update(**ending(now))
    Reign.objects.create(camera_id=camera_id, token=token + 1, worker=worker, taken_at=now)
    if was_watched:
        open_outage(camera_id, now)
    return token + 1


def ending(now: datetime) -> dict[str, object]:
    """When a reign ends, by both clocks."""
    return {"ended_at": now, "ended_boot": uptime.boot_id(), "ended_uptime_s": uptime.uptime_s()}


def open_outage(camera_id: int, now: datetime, reason: str = "") -> None:
    """Nobody gave the camera back, so its worker has ended: nobody looked at it since its last picture."""
    if Outage.objects.filter(camera_id=camera_id, ended_at__isnull=True).exists():
        return
    try:
        last = seen.last_at(camera_id)
    except Errors:
        last = None
    began_at = now if last is None else min(now, datetime.fromtimestamp(last, UTC))
    Outage.objects.create(
        camera_id=camera_id, began_at=began_at, reason=reason or _("The worker that watched it ended.")
    )


@transaction.atomic
def release(camera_id: int, token: int, state: CameraState = CameraState.WAITING) -> bool:
    """Give a camera back; False if the token is no longer the lease's."""
    now = timezone.now()
    freed = CameraLease.objects.filter(camera_id=camera_id, token=token).update(
        worker="", state=state, state_since=now, state_detail=""
    )
    if freed:
        Reign.objects.filter(camera_id=camera_id, token=token, ended_at__isnull=True).update(**ending(now))
    return bool(freed)


def release_all(worker: str, has_ended: bool = False) -> int:
    """Give back whatever this worker holds; returns the number of cameras.

    Args:
        has_ended: it was held by an earlier run, which ended without giving it back: an outage of each camera.
    """
    held = list(CameraLease.objects.filter(worker=worker).values_list("camera_id", "token"))
    released = [camera_id for camera_id, token in held if release(camera_id, token)]
    for camera_id in released if has_ended else ():
        open_outage(camera_id, timezone.now())
    return len(released)


def ask_back(worker: str, camera_id: int) -> None:
    """Ask a worker to give a camera back: another machine does less."""
    pipeline = connection().pipeline(transaction=False)
    pipeline.sadd(ask_back_key(worker), camera_id)
    pipeline.expire(ask_back_key(worker), TIME_TO_LIVE_S)
    pipeline.execute()


def asked_back(worker: str) -> set[int]:
    """The cameras that this worker is asked to give back; each is said once."""
    found = cast("set[bytes]", connection().smembers(ask_back_key(worker)))
    if found:
        connection().delete(ask_back_key(worker))
    return {int(each) for each in found}


def renew(worker: str, watched: Iterable[tuple[int, int]]) -> list[int]:
    """Mark these (camera, token) as alive; returns the cameras that a later token has taken.

    A key that is gone is set again: after Redis was away, workers that kept watching re-assert their leases.
    """
    pairs = list(watched)
    if not pairs:
        return []
    values = cast("list[bytes | None]", connection().mget([lease_key(camera_id) for camera_id, _token in pairs]))
    lost: list[int] = []
    pipeline = connection().pipeline(transaction=False)
    for (camera_id, token), value in zip(pairs, values, strict=True):
        if value is not None and parse_lease(value)[1] > token:
            lost.append(camera_id)
        else:
            pipeline.set(lease_key(camera_id), f"{worker} {token}", ex=TIME_TO_LIVE_S)
    pipeline.execute()
    return lost


def forget(camera_id: int, worker: str, token: int) -> None:
    """Delete the Redis key of a lease that was given back."""
    if connection().get(lease_key(camera_id)) == f"{worker} {token}".encode():
        connection().delete(lease_key(camera_id))


def alive_leases(given: Iterable[tuple[int, str, int]]) -> set[tuple[int, int]]:
    """Those of these leases (camera, worker, token) whose time-to-live has not run out, as (camera, token)."""
    leases = list(given)
    if not leases:
        return set()
    values = cast(
        "list[bytes | None]", connection().mget([lease_key(camera_id) for camera_id, _worker, _token in leases])
    )
    return {
        (camera_id, token)
        for (camera_id, worker, token), value in zip(leases, values, strict=True)
        if value is not None and parse_lease(value) == (worker, token)
    }


def parse_lease(value: bytes) -> tuple[str, int]:
    worker, _blank, token = value.decode().rpartition(" ")
    return worker, int(token)


# -- all leases -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """A camera that should be watched, and its lease as the database has it."""

    camera_id: int
    site_id: int
    token: int
    worker: str
    at_site: bool = False


def wanted_cameras() -> list[Wanted]:
    """All cameras that should be watched, but for those in quarantine; a lease row is created for those that have none
    yet. Usually one query.
    """
    wanted = Camera.objects.filter(Camera.wanted()).exclude(in_quarantine("lease__"))
    rows = wanted.values_list("pk", "site_id", "lease__token", "lease__worker", "site__has_workers", "kind")
    found = list(rows.order_by("pk"))
    missing = [pk for pk, _site, token, *_rest in found if token is None]
    if missing:
        CameraLease.objects.bulk_create([CameraLease(camera_id=pk) for pk in missing], ignore_conflicts=True)
    return [
        Wanted(pk, site_id, token or 0, worker or "", has_workers and kind != Camera.Kind.DEVICE)
        for pk, site_id, token, worker, has_workers, kind in found
    ]


def in_quarantine(prefix: str = "") -> Q:
    """Leases of cameras that are not to be handed out; `prefix` leads to the lease, like "lease__"."""
    camera = "version" if prefix else "camera__version"
    return Q(**{f"{prefix}crashes__gte": MOST_CRASHES, f"{prefix}crashed_version": F(camera)})


@dataclass
class Reconciler:
    """Hands cameras without a living lease to workers. Each stream worker has one; a lock in Redis lets one act.

    Redis' times-to-live end by the wall's clock. If that is set, they end too early or too late; so who is alive, and
    who leads, is judged by whether their beat grows, on a clock that nobody can set.
    """

    name: str
    instance: str
    ring: Ring
    _rings: dict[tuple[int, int], tuple[int, float]] = field(default_factory=dict)
    _seen: dict[str, tuple[WorkerState, float]] = field(default_factory=dict)
    _leader: tuple[str, float] = ("", 0.0)
    _beat: int = 0
    _handed_out_at: float = float("-inf")
    _uneven_since: float | None = None

    def step(self) -> int:
        """Run one round; returns how many bells were rung. Unless it leads, it only notes who lives, in Redis."""
        workers = self._living()  # by everybody: a new leader must not wait until it knows them
        if not self._leads():
            return 0
        cameras = wanted_cameras()
        alive = alive_leases(
            (camera.camera_id, camera.worker, camera.token) for camera in cameras if camera.worker in workers
        )
        settled = era_age_s() >= 2 * TIME_TO_LIVE_S
        load = {name: sum(1 for camera in cameras if camera.worker == name) for name in workers}
        rung = 0
        self._rings = {key: value for key, value in self._rings.items() if key not in alive}
        for camera in cameras:
            if (camera.camera_id, camera.token) in alive:
                continue
            rung += self._hand_out(camera, workers, load, settled)
        if settled:
            self._drain(cameras, workers, load)
        if rung or not settled:
            self._handed_out_at, self._uneven_since = time.monotonic(), None
        elif time.monotonic() - self._handed_out_at >= MOVE_EVERY_S:
            self._move_one(cameras, workers, load)
        return rung

    def _drain(self, cameras: list[Wanted], workers: dict[str, WorkerState], load: dict[str, int]) -> None:
        """Ask each worker that is to be empty for one camera, if another has room for it: none is blinded for this."""
        for name in [name for name, worker in workers.items() if worker.is_drained]:
            held = [camera for camera in cameras if camera.worker == name]
            for camera in sorted(held, key=lambda each: each.camera_id not in workers[name].calm):
                if chosen := choose_worker(camera, workers.values(), load):
                    log.info(
                        "camera %s leaves %s, which is to be empty, perhaps for %s", camera.camera_id, name, chosen
                    )
                    ask_back(name, camera.camera_id)
                    load[chosen] += 1
                    break

    def _move_one(self, cameras: list[Wanted], workers: dict[str, WorkerState], load: dict[str, int]) -> None:
        """Ask the busiest worker for a camera, if the idlest should have it: it is handed out once it is given back.

        One in which nobody is in view: who is would not be seen for a moment. If there is none for a minute, another.
        """
        busiest = max(workers.values(), key=lambda worker: worker.load, default=None)
        if busiest is None or not is_uneven(busiest, workers.values(), load):
            self._uneven_since = None
            return
        now = time.monotonic()
        self._uneven_since = since = now if self._uneven_since is None else self._uneven_since
        for camera in cameras:
            if camera.worker != busiest.name or not (camera.camera_id in busiest.calm or now - since >= CALM_WITHIN_S):
                continue
            others = [worker for name, worker in workers.items() if name != busiest.name]
            idlest = choose_worker(camera, others, load)
            if idlest is None or not is_uneven(busiest, [busiest, workers[idlest]], load):
                continue
            log.info("camera %s moves from %s, probably to %s", camera.camera_id, busiest.name, idlest)
            ask_back(busiest.name, camera.camera_id)
            self._handed_out_at, self._uneven_since = now, None
            return

    def _hand_out(self, camera: Wanted, workers: dict[str, WorkerState], load: dict[str, int], settled: bool) -> bool:
        holder = workers.get(camera.worker)
        rings, rung_at = self._rings.get((camera.camera_id, camera.token), (0, float("-inf")))
        if holder is not None and holder.serves(camera.site_id, camera.at_site) and rings < RINGS:
            if time.monotonic() - rung_at < RING_AGAIN_S:
                return False
            return self._ring(camera.camera_id, camera.token, camera.worker, rings)
        if camera.worker and holder is None and not settled:
            return False  # Redis was away: a worker that still watches has not had time to say so
        chosen = choose_worker(camera, workers.values(), load)
        if chosen is None:
            return False
        token = take(camera.camera_id, camera.token, chosen)
        if token is None:
            return False
        log.info("camera %s goes to %s under token %s", camera.camera_id, chosen, token)
        load[chosen] += 1
        return self._ring(camera.camera_id, token, chosen, 0)

    def _ring(self, camera_id: int, token: int, worker: str, rings: int) -> bool:
        self._rings[camera_id, token] = (rings + 1, time.monotonic())
        if not worker.startswith(AT_SITE):  # those ask by themselves
            self.ring(worker, camera_id, token)
        return True

    def _living(self) -> dict[str, WorkerState]:
        """The workers whose beat has grown within a time-to-live, by name."""
        now, registered = time.monotonic(), registered_workers()
        for state in states_of(registered):
            before = self._seen.get(state.name)
            if before is None or (before[0].instance, before[0].beat) != (state.instance, state.beat):
                self._seen[state.name] = (state, now)
        self._seen = {name: each for name, each in self._seen.items() if name in registered}
        return {name: state for name, (state, at) in self._seen.items() if now - at < TIME_TO_LIVE_S}

    @property
    def _me(self) -> str:
        return f"{self.name} {self.instance} "

    def _leads(self) -> bool:
        self._beat += 1
        now, current = time.monotonic(), leader()
        if current.startswith(self._me):
            connection().set(LEADER_KEY, f"{self._me}{self._beat}", ex=LEADS_FOR_S)
            return True
        if current and current != self._leader[0]:
            self._leader = current, now
        if current and now - self._leader[1] < LEADS_FOR_S:
            return False
        if current:
            connection().eval(DELETE_IF_EQUAL, 1, LEADER_KEY, current)
        return bool(connection().set(LEADER_KEY, f"{self._me}{self._beat}", nx=True, ex=LEADS_FOR_S))

    def resign(self) -> None:
        """Let another lead at once."""
        if leader().startswith(self._me):
            connection().delete(LEADER_KEY)


def era_age_s() -> float:
    """For how long Redis has kept its data: a restart without persistence wipes every time-to-live."""
    now, _micro = connection().time()
    connection().set(ERA_KEY, str(now), nx=True)
    began = cast("bytes | None", connection().get(ERA_KEY))
    return now - int(began or now)


def why_waiting(site_id: int, at_site: bool, workers: Iterable[WorkerState]) -> str:
    """Why no worker takes a camera of this site, and what to do, as a sentence; empty if one is about to."""
    workers = list(workers)
    serving = [worker for worker in workers if worker.serves(site_id, at_site)]
    if at_site and not serving:
        return _("No worker at this site has been heard from. Is its machine on, and can it reach the portal?")
    taken, places = sum(len(worker.watching) for worker in serving), sum(worker.room for worker in serving)
    if not workers:
        return _("No worker is running. Ask the operator of this portal to start one.")
    if not serving:
        return _("No running worker serves this site. Ask the operator of this portal to assign one (WORKER_SITES).")
    if taken >= places:
        return _(
            "%(taken)d of %(places)d places are taken. Ask the operator of this portal for another worker, or for more "
            "places (WORKER_CAPACITY); or pause a camera."
        ) % {"taken": taken, "places": places}
    return ""


def is_uneven(busiest: WorkerState, workers: Iterable[WorkerState], load: dict[str, int]) -> bool:
    """Whether the busiest worker should give a camera away, to the least busy of these."""
    watched = load.get(busiest.name, 0)
    idlest = min((worker for worker in workers if not worker.trouble), key=lambda worker: worker.load, default=busiest)
    if watched < 2 or idlest.name == busiest.name:
        return False
    gap, cost = busiest.load - idlest.load, busiest.load / watched
    return load.get(idlest.name, 0) == 0 or (gap > UNEVEN and gap > 1.5 * cost)


def choose_worker(camera: Wanted, workers: Iterable[WorkerState], load: dict[str, int]) -> str | None:
    """The worker with room that serves the camera's site and whose machine does least; None if none has room.

    By measured load, and what the cameras that it was just given will add; where that is about the same, by free
    capacity. One that cannot write its spool is chosen only if there is no other: live pictures are better than none.
    """
    free = []
    for worker in workers:
        given = load.get(worker.name, 0)
        if worker.serves(camera.site_id, camera.at_site) and worker.room > given:
            added = max(0, given - len(worker.watching)) * CAMERA_LOAD
            doing = round((worker.load + added) / LOAD_STEP)
            free.append((not worker.trouble, -doing, worker.capacity - given, worker.name))
    return max(free)[3] if free else None
