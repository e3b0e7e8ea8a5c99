from __future__ import annotations

import io
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.watching import spool
from cameras.watching.findings import encode
from cameras.watching.spool import Record, SpoolReader, SpoolWriter, read_records
from detection import PassageFinding, Snapshot, ViolationFinding, make_key
from tests.portal_process import wait_for

bodies = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["passage", "violation", "state"]),
        "camera": st.integers(1, 99),
        "token": st.integers(1, 9),
    },
    optional={"detail": st.text(max_size=20), "seq": st.integers(0, 2**40)},
)
records = st.builds(Record, bodies, st.binary(max_size=200))


@given(st.lists(records, max_size=6))
def test_what_is_written_is_read_again_in_order(given_records: list[Record]) -> None:
    data = b"".join(record.encode() for record in given_records)
    assert [record for record, _ in read_records(io.BytesIO(data))] == given_records


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_segment_cut_anywhere_gives_its_whole_records_and_no_other(
    given_records: list[Record], data: st.DataObject
) -> None:
    whole = b"".join(record.encode() for record in given_records)
    cut = data.draw(st.integers(0, len(whole)))
    read = [record for record, _ in read_records(io.BytesIO(whole[:cut]))]
    assert read == given_records[: len(read)]
    assert sum(len(record.encode()) for record in read) <= cut
    assert len(read) == len(given_records) or sum(len(r.encode()) for r in given_records[: len(read) + 1]) > cut


@given(records, st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_noticed(record: Record, place: int, change: int) -> None:
    data = bytearray(record.encode())
    data[place % len(data)] ^= change
    assert [found for found, _ in read_records(io.BytesIO(bytes(data)))] == []


def state(number: int) -> Record:
    body = {"kind": "state", "camera": 1, "token": 1, "state": "online", "detail": str(number), "at": 0.0}
    return Record(body)


def read_all(folder: Path) -> list[Record]:
    return [record for record, _, _ in SpoolReader(folder).batch(10_000)]


def test_findings_are_on_disk_with_their_picture_within_a_moment(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "spool")
    key = make_key(1.0)
    passage = PassageFinding(key, 1, "no_mask", 0.9, 1.0, 2.0, None, (0.1, 0.1, 0.2, 0.2))
    picture = np.full((1440, 2560, 3), 90, np.uint8)
    violation = ViolationFinding(make_key(1.0), key, 1, "no_mask", 0.9, 1.0, 2.0, None, 2.0, 1.0, (0.1, 0.1, 0.2, 0.2),
                          Snapshot(picture, (0.1, 0.1, 0.2, 0.2), 1.5))  # fmt: skip
    writer.put(encode(7, 3, passage))
    writer.put(encode(7, 3, violation))
    wait_for(lambda: len(read_all(writer.folder)) == 2, 2, "the records")
    found = read_all(writer.folder)
    assert [record.kind for record in found] == ["passage", "violation"]
    assert found[1].body["passage"] == str(key) and found[1].body["snapshot_at"] == 1.5
    from detection import decode_picture

    assert decode_picture(found[1].picture).shape == (1080, 1920, 3), "scaled to what a page can show"
    writer.close()
    writer.unlock()


def test_an_urgent_record_is_on_the_disk_when_it_counts_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right after: what was told is there, with all that was handed in before it."""
    monkeypatch.setattr(spool, "COMMIT_EVERY_S", 30.0)
    writer = SpoolWriter(tmp_path / "north.1")
    began = time.monotonic()
    writer.put(state(1))
    writer.put(state(2), is_urgent=True)
    assert read_all(tmp_path / "north.1") == [state(1), state(2)]
    assert time.monotonic() - began < 5
    writer.put(state(3))
    assert len(read_all(tmp_path / "north.1")) == 2, "others are written in groups"
    writer.close()
    writer.unlock()


def test_many_threads_lose_nothing_and_writes_are_grouped(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "spool")

    def work(start: int) -> None:
        for number in range(start, start + 100):
            writer.put(state(number))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    writer.unlock()
    assert {int(record.body["detail"]) for record in read_all(writer.folder)} == set(range(800))
    assert writer.dropped == 0


def test_what_was_recorded_is_forgotten_and_the_active_segment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 300)
    writer = SpoolWriter(tmp_path / "spool")
    reader = SpoolReader(writer.folder)
    for number in range(10):
        writer.put(state(number))
        wait_for(lambda number=number: len(read_all(writer.folder)) > number, 2, "the record")  # type: ignore[misc]
    assert len(writer.segments()) > 2
    for place in reader.batch():
        reader.done(place, writer.active())
    assert writer.segments() == [writer.active()]
    writer.put(state(99))
    wait_for(lambda: [record.body["detail"] for record, _, _ in reader.batch()] == ["99"], 2, "only what is new")
    writer.close()
    writer.unlock()


def test_a_living_workers_spool_is_left_alone_and_a_gone_ones_is_found(tmp_path: Path) -> None:
    living = SpoolWriter(tmp_path / "north.1")
    gone = SpoolWriter(tmp_path / "south.1")
    gone.put(state(1))
    gone.close()
    gone.unlock()
    with_locks = list(spool.abandoned(tmp_path))
    assert [folder.name for folder, _ in with_locks] == ["south.1"]
    for _, lock in with_locks:
        lock.close()
    living.close()
    living.unlock()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root to be mounted")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_waited_out_and_nothing_is_lost(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "RETRY_S", 0.05)
    writer = SpoolWriter(small_disk / "spool")
    writer.put(state(0))
    wait_for(lambda: read_all(writer.folder), 2, "the first record")
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2_000_000))
    for number in range(1, 200):
        writer.put(state(number))
    wait_for(lambda: writer.trouble, 5, "the trouble to be told")
    began = time.monotonic()
    writer.put(state(200))
    assert time.monotonic() - began < 0.1, "the camera's thread waits for no disk"
    filler.unlink()
    wait_for(lambda: len(read_all(writer.folder)) == 201, 5, "all records")
    assert [int(record.body["detail"]) for record in read_all(writer.folder)] == list(range(201))
    assert writer.trouble == "" and writer.dropped == 0
    writer.close()
    writer.unlock()


def test_while_the_disk_takes_nothing_memory_is_bounded_and_the_end_does_not_wait(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "MOST_WAITING_BYTES", 100_000)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(bytes(2_000_000))
    writer = SpoolWriter(small_disk / "spool")
    for number in range(100):
        writer.put(Record(state(number).body, bytes(10_000)))
    assert writer.dropped > 80
    began = time.monotonic()
    writer.close()
    assert time.monotonic() - began < 2
    writer.unlock()


def test_what_is_refused_is_kept_with_its_reason(tmp_path: Path) -> None:
    spool.refuse(tmp_path / "refused", Record({"kind": "state", "camera": 1, "token": 1}, b"jpeg"), "no such camera")
    (file,) = (tmp_path / "refused").glob("*.log")
    with file.open("rb") as opened:
        ((record, _),) = read_records(opened)
    assert record.body["refused"] == "no such camera" and record.picture == b"jpeg"
