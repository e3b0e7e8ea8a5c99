"""Pictures in a bucket that several machines share, on moto's server: stored, shown, dropped, and waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.files.storage import default_storage
from moto.server import ThreadedMotoServer

from cameras.watching.spool import SpoolWriter
from detection import make_key
from portal.events import retention
from portal.events.recorder import Recorder
from portal.events.recording import record
from portal.models import Violation
from portal.server import environment, picture_store
from portal.server.variables import SettingError
from tests.portal_process import free_port, wait_for
from tests.worlds import World, jpeg, passage_record, see, violation_record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bucket(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    given = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **given)
    client.create_bucket(Bucket="pictures")
    monkeypatch.setenv("PICTURES", f"s3+http://key:secret@127.0.0.1:{port}/pictures")
    settings.STORAGES = settings.STORAGES | {"default": environment.pictures(Path("none"))}
    yield server
    server.stop()


def test_a_violations_picture_is_stored_shown_replaced_and_dropped(
    bucket: ThreadedMotoServer, world: World, sign_in: Any
) -> None:
    violation = see(world.door)
    answer = sign_in(world.alice).get(f"/violations/{violation.pk}/snapshot.jpg")
    assert answer.status_code == 200
    assert (answer.content if not answer.streaming else b"".join(answer)).startswith(b"\xff\xd8")
    first = violation.snapshot.name
    record(violation_record(world.door, violation.pk, violation.passage_id, seq=2, picture=jpeg(320, 180)))
    violation.refresh_from_db()
    assert not default_storage.exists(first or "") and default_storage.exists(violation.snapshot.name or "")
    with pytest.raises(ValueError, match="no address"):
        default_storage.url(violation.snapshot.name or "")
    folders, _files = default_storage.listdir("")
    assert len(folders) == 1, "the sweep for orphans can walk through it"
    retention.delete_violations([violation])
    assert not default_storage.exists(violation.snapshot.name or "")


def test_while_the_bucket_does_not_answer_nothing_is_refused_or_lost(
    bucket: ThreadedMotoServer, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_store, "TRIES", 1)
    bucket.stop()
    writer = SpoolWriter(tmp_path / "spool" / "north.1")
    recorder = Recorder(writer, tmp_path / "spool", tmp_path / "refused")
    passage, key = make_key(time.time()), make_key(time.time())
    writer.put(passage_record(world.door, passage), False)
    writer.put(violation_record(world.door, key, passage), True)
    recorder.start()
    wait_for(lambda: "the store of pictures" in recorder._trouble, 30, "it to be told")
    assert not Violation.objects.exists() and not (tmp_path / "refused").exists()
    recorder.close(20)
    writer.close()


@pytest.mark.parametrize("place", ["s3://HOST/BUCKET", "s3://key:secret@host/", "s3://key:secret@host/a/b", "pictures"])
def test_a_place_that_cannot_be_used_is_said_at_the_start(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES", place)
    with pytest.raises(SettingError, match="Write "):
        environment.pictures(Path("none"))


def test_secrets_of_a_bucket_may_have_any_letter() -> None:
    options = picture_store.options("s3://AK%2FIA:s%40cr%3Aet@s3.example.org/lobby")
    assert (options["access_key"], options["secret_key"]) == ("AK/IA", "s@cr:et")
    assert (options["endpoint_url"], options["bucket_name"]) == ("https://s3.example.org", "lobby")
