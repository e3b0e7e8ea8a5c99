"""Makes the data of a release by the release's own code, for test_an_installation_of_the_last_release….

    git worktree add ../release TAG && cd ../release && make install
    .venv/bin/python ../main/tests/releases/make.py ../main/tests/releases/0.3.0.tar.xz

Run in a checkout of the release. Its portal watches the demo; somebody reviews, makes notes, a camera with a password
and a second manager. Then the database is locked, and all is killed: what was seen last is still in the spool.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ACT = """
import django
django.setup()
from django.utils import timezone
from cameras.models import Camera, Site
from cameras.reach.credentials import seal
from portal.models import AuditEntry, Membership, User, Violation
site = Site.objects.get(name="Harbour House")
Camera.objects.create(site=site, name="Gate", kind="rtsp", address="rtsp://192.0.2.7/live", user="viewer",
                      sealed_password=seal("d0or & g\\u00e4te"), paused=True)
Membership.objects.create(user=User.objects.create_user("nora@example.org", "Nora-Long-pass-4u", name="Nora"),
                          site=site, role=Membership.Role.REVIEWER)
one, two = Violation.objects.order_by("started_at")[:2]
Violation.objects.filter(pk=one.pk).update(status="confirmed", note="Asked by \\u05e0\\u05d5\\u05e8\\u05d4")
Violation.objects.filter(pk=two.pk).update(status="dismissed")
AuditEntry.objects.create(action="viewed", subject="/violations/", actor="nora@example.org")
"""
COUNT = "import django; django.setup(); from portal.models import Violation; print(Violation.objects.count())"
KEPT = ("portal.sqlite3", "secret-key", "keys", "demo-login.txt", "pictures", "spool")


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        environment = os.environ | {
            "DATA_DIR": str(data), "PORT": "8471", "DJANGO_SETTINGS_MODULE": "portal.settings", "PYTHONPATH": ".",
            "WORKER_NAME": "north",
        }  # fmt: skip

        def django(code: str) -> str:
            run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE)
            return run.stdout.decode()

        command = [sys.executable, "-m", "portal.server.run"]
        portal = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
        next(line for line in portal.stdout or () if b"Ctrl-C stops it" in line)
        while int(django(COUNT)) < 2:
            time.sleep(1)
        django(ACT)
        database = sqlite3.connect(data / "portal.sqlite3", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        while sum(path.stat().st_size for path in (data / "spool").glob("*/*.log")) < 400_000:  # somebody new is in it
            time.sleep(0.2)
        for pid in [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]:
            try:
                if f"DATA_DIR={data}".encode() in Path(f"/proc/{pid}/environ").read_bytes() and pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        portal.wait()
        database.execute("ROLLBACK")
        database.close()
        database = sqlite3.connect(data / "portal.sqlite3", isolation_level=None, timeout=20)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("VACUUM")
        database.close()
        for path in data.iterdir():
            if path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with tarfile.open(target, "w:xz") as archive:
            archive.add(data, "data")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
