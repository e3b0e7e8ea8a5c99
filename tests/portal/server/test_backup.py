"""A backup holds every row and picture of one moment; nothing damaged, newer or foreign is ever restored."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from portal.events import notices, picture_files, retention
from portal.models import User, Violation
from portal.server import backup, daily_backup, upgrade
from portal.server import restore as restoring
from tests.conftest import ROOT
from tests.html import squeezed
from tests.on_postgres import postgres, programs
from tests.worlds import World, make_world, see

SECRET = "Correct horse"
FILL = """
from portal.models import *
from portal.events.recording import record
from tests.worlds import glimpse_record, make_world, see
world = make_world()
for number in range(12):
    record(glimpse_record(see(world.door if number % 3 else world.hall)))
"""
ROWS = """
import hashlib, json
from django.apps import apps
from django.core.files.storage import default_storage
from portal.events.picture_files import all_names
rows = {model._meta.label: sorted(map(str, model._base_manager.values_list()))
        for model in apps.get_models(include_auto_created=True) if model._meta.managed}
pictures = {name: hashlib.sha256(default_storage.open(name).read()).hexdigest()
            for name in all_names()}
print(json.dumps([rows, pictures]))
"""


SMALL = """
import os, signal, sys
os.environ['DJANGO_SETTINGS_MODULE'] = 'portal.settings'
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import django
django.setup()
from pathlib import Path
from portal.server import backup
backup.make(Path(sys.argv[1]), 'Correct horse')
"""


def manage(folder: Path, *arguments: str, fails: bool = False, **more: str) -> str:
    """One of the portal's commands on another DATA_DIR; what it printed."""
    environment = os.environ | {"DATA_DIR": str(folder), "BACKUP_PASSPHRASE": SECRET} | more
    done = subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, capture_output=True)
    assert bool(done.returncode) is fails, done.stderr.decode()
    return done.stdout.decode() + (done.stderr.decode() if fails else "")


@pytest.fixture(params=["sqlite", "postgresql"])
def two_databases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Addresses of two empty databases; an empty one is SQLite in DATA_DIR."""
    if connection.vendor == "postgresql":
        pytest.skip("it brings its own databases, on SQLite's run")
    if request.param == "sqlite":
        yield "", ""
        return
    monkeypatch.setenv("PATH", str(programs()), prepend=os.pathsep)
    with postgres() as url:
        address = url.rpartition("/")[0]
        subprocess.run([programs() / "createdb", "-d", url, "second"], check=False, capture_output=True)
        subprocess.run([programs() / "psql", url, "-c", "CREATE DATABASE second"], check=True, capture_output=True)
        yield url, f"{address}/second"


@pytest.mark.usefixtures("redis")
def test_every_row_and_picture_is_there_again(two_databases: tuple[str, str], tmp_path: Path) -> None:
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "masks.backup"
    manage(here, "prepare", DATABASE_URL=two_databases[0])
    manage(here, "shell", "--no-imports", "-c", FILL, DATABASE_URL=two_databases[0])
    (here / "clips").mkdir(exist_ok=True)
    (here / "clips" / "lobby.mp4").write_bytes(b"a clip of the operator's")
    said = manage(here, "backup", str(file), DATABASE_URL=two_databases[0])
    assert "the database and 24 pictures" in said and file.stat().st_mode & 0o777 == 0o600
    before = json.loads(manage(here, "shell", "--no-imports", "-c", ROWS, DATABASE_URL=two_databases[0]))
    shutil.rmtree(here)
    there.mkdir(mode=0o700)
    wrong = manage(
        there, "restore", str(file), fails=True, DATABASE_URL=two_databases[1], BACKUP_PASSPHRASE="incorrect"
    )
    assert "This is not the passphrase of that backup." in wrong and not (there / "pictures").exists()
    assert "with 24 pictures" in manage(there, "restore", str(file), DATABASE_URL=two_databases[1])
    after = json.loads(manage(there, "shell", "--no-imports", "-c", ROWS, DATABASE_URL=two_databases[1]))
    assert len(after[1]) == 24 and len(after[0]["portal.Violation"]) == 12
    for name, rows in before[0].items():
        assert after[0][name] == rows, name
    assert after[1] == before[1]
    assert (there / "clips" / "lobby.mp4").read_bytes() == b"a clip of the operator's"
    again = manage(there, "restore", str(file), fails=True, DATABASE_URL=two_databases[1])
    assert "This installation holds data already" in again


# -- what is not restored ---------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, settings: Any, redis: Any) -> Path:
    """An empty DATA_DIR with an empty store of pictures."""
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    settings.MEDIA_ROOT = settings.DATA_DIR / "pictures"
    if connection.vendor == "postgresql":
        settings.DATABASES  # noqa: B018
        os.environ["PATH"] = f"{programs()}{os.pathsep}{os.environ['PATH']}"
    return Path(settings.DATA_DIR)


@pytest.fixture
def made(home: Path, tmp_path: Path, transactional_db: None) -> Path:
    world = make_world()
    see(world.door)
    path = tmp_path / "masks.backup"
    backup.make(path, SECRET)
    User.objects.all().delete()
    Violation.objects.all().delete()
    for camera in (world.door, world.hall):
        camera.passages.all().delete()
        camera.delete()
    world.here.delete()
    world.there.delete()
    return path


def refuse(path: Path, says: str) -> None:
    """It is refused with this sentence, and leaves nothing behind."""
    root = Path(str(path.parent / "data"))
    (root / "run.lock").touch()
    before = sorted(root.rglob("*"))
    with pytest.raises(backup.BackupError, match=says):
        restoring.restore(path, SECRET)
    assert sorted(root.rglob("*")) == before
    assert not User.objects.exists()


def test_a_backup_that_was_cut_or_changed_anywhere_is_refused(made: Path) -> None:
    whole = made.read_bytes()
    damaged = made.with_name("damaged.backup")

    @given(st.integers(1024, len(whole) - 3000), st.booleans())
    @examples(max_examples=8)  # each takes as long as a passphrase does
    def check(place: int, is_cut: bool) -> None:
        damaged.write_bytes(whole[:place] if is_cut else whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refuse(damaged, "is damaged, or no backup of ours")

    check()
    damaged.write_bytes(b"something else")
    refuse(damaged, "is damaged, or no backup of ours")
    refuse(made.with_name("nothing.backup"), "There is no")


def test_a_newer_portals_backup_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = upgrade.latest_migrations()["portal"]
    known = upgrade.known_migrations() - {("portal", newest)}
    monkeypatch.setattr(restoring, "known_migrations", lambda: known)
    refuse(made, "newer than this one")


def test_a_backup_of_another_kind_of_database_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connection, "vendor", "oracle")
        refuse(made, "Set DATABASE_URL")


def test_while_the_portal_runs_nothing_is_restored(made: Path, home: Path) -> None:
    holder = subprocess.Popen(["flock", str(home / "run.lock"), "sleep", "60"])
    try:
        while (home / "run.lock").exists() is False:
            os.sched_yield()
        deadline = timezone.now() + timedelta(seconds=10)
        while timezone.now() < deadline:
            probe = subprocess.run(["flock", "-n", str(home / "run.lock"), "true"], check=False)
            if probe.returncode:
                break
        refuse(made, "The portal runs on this DATA_DIR")
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.django_db(transaction=True)
def test_a_passphrase_that_anybody_guesses_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(backup.BackupError, match="passphrase of at least 8 letters"):
        backup.make(tmp_path / "x.backup", "1234567")
    assert not list(tmp_path.glob("*backup*"))


@pytest.mark.django_db(transaction=True)
def test_a_backup_that_has_no_room_leaves_nothing_half_made(home: Path) -> None:
    make_world()
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n{SMALL}"
    done = subprocess.run([sys.executable, "-c", limit, str(home.parent / "masks.backup")], cwd=ROOT,
                          env=os.environ | {"DATA_DIR": str(home)}, capture_output=True)  # fmt: skip
    assert b"The backup could not be written" in done.stderr, done.stderr.decode()
    assert not [path for path in home.parent.rglob("*") if "backup" in path.name]


# -- while it runs ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_what_is_replaced_or_too_old_meanwhile_is_kept_until_it_is_done(home: Path, redis: Any) -> None:
    world = make_world()
    found = see(world.door)
    old = found.snapshot.name or ""
    picture_files.hold()
    replaced(found)
    assert default_storage.exists(old)
    Violation.objects.update(started_at=timezone.now() - timedelta(days=90))
    later = timezone.now() + timedelta(hours=2)
    assert retention.delete_old(later) == (0, 0) and retention.sweep_orphans(later) == 0
    picture_files.let_go()
    assert retention.sweep_orphans(later) == 1 and not default_storage.exists(old)
    assert retention.delete_old(later)[0] == 1


def replaced(found: Violation) -> None:
    """A better picture of the same person comes in."""
    from portal.events.recording import record
    from tests.worlds import violation_record

    record(violation_record(found.camera, found.pk, found.passage_id, found.token, seq=2,
                            started_at=found.started_at.timestamp(), last_seen_at=found.last_seen_at.timestamp() + 1,
                            opened_at=found.opened_at.timestamp()))  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_pictures_of_people_who_were_erased_meanwhile_are_missing_and_it_says_so(home: Path, tmp_path: Path) -> None:
    world = make_world()
    found, other = see(world.door), see(world.door)
    default_storage.delete(found.snapshot.name or "")
    made = backup.make(tmp_path / "masks.backup", SECRET)
    assert (made.missing, made.pictures) == (1, 1) and f"pictures/{other.snapshot.name}" in made.hashes


def test_it_is_a_tar_of_two_files_of_age(made: Path) -> None:
    listed = subprocess.run(["tar", "-tf", str(made)], check=True, capture_output=True).stdout.split()
    assert listed == [b"key.age", b"content.age"]
    for name in ("key.age", "content.age"):
        content = subprocess.run(["tar", "-xOf", str(made), name], check=True, capture_output=True).stdout
        assert content.startswith(b"age-encryption.org/v1\n")


# -- each day ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_each_day_one_is_made_and_as_many_kept_as_asked(home: Path, settings: Any, tmp_path: Path) -> None:
    settings.BACKUP_DIR, settings.BACKUP_PASSPHRASE, settings.BACKUP_KEEP = str(tmp_path / "backups"), SECRET, 2
    start = timezone.now().replace(microsecond=0) - timedelta(days=9)
    made = [daily_backup.make_daily(start + timedelta(hours=hours)) for hours in (0, 1, 23, 24, 49, 50, 73)]
    assert [path is not None for path in made] == [True, False, False, True, True, False, True]
    kept = [path for _moment, path in daily_backup.made_in(tmp_path / "backups")]
    assert kept == [made[4], made[6]]
    (tmp_path / "backups" / "masks-of-mine.backup").write_bytes(b"not ours")
    assert daily_backup.described()["age_hours"] == pytest.approx((9 * 24) - 73, abs=0.2)
    assert daily_backup.age(start + timedelta(hours=74)) == timedelta(hours=1)


@pytest.mark.django_db(transaction=True)
def test_a_backup_that_fails_is_told_on_the_dashboard_until_one_succeeds(
    home: Path, settings: Any, tmp_path: Path, sign_in: Callable[[User], Client]
) -> None:
    world: World = make_world()
    (tmp_path / "backups").write_text("not a folder")
    settings.BACKUP_DIR, settings.BACKUP_PASSPHRASE, settings.BACKUP_KEEP = str(tmp_path / "backups"), SECRET, 2
    daily_backup.keep()
    assert "The last backup failed" in squeezed(sign_in(world.alice).get("/"))
    (tmp_path / "backups").unlink()
    daily_backup.keep()
    assert "no-backup" not in notices.current_notices()
    assert daily_backup.described()["age_hours"] == 0.0


def test_without_backup_dir_none_is_made(settings: Any) -> None:
    settings.BACKUP_DIR = ""
    assert daily_backup.make_daily() is None and daily_backup.described() == {"made": False, "age_hours": None}


# -- an older portal --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("redis")
def test_data_of_a_newer_portal_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    if connection.vendor == "postgresql":
        pytest.skip("it brings its own database")
    manage(tmp_path / "data", "prepare", DATABASE_URL="")
    database = tmp_path / "data" / "portal.sqlite3"
    with sqlite3.connect(database) as rows:
        rows.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('portal', '9999_later', '2030-01-01')")
    said = manage(tmp_path / "data", "prepare", fails=True, DATABASE_URL="")
    assert "was opened by a newer version of the portal (it has portal.9999_later)" in said
