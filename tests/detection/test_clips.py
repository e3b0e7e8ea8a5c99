"""replay on real footage and on the demo's clips gives what their READMEs state as correct."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import DEMO_CLIPS


def run_replay(clip: Path, *options: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("replay", str(clip), "--json", *options, stdout=out)
    return dict(json.loads(out.getvalue()))


def labels(found: dict[str, Any], kind: str) -> list[str]:
    return sorted(row["label"] for row in found[kind])


@pytest.mark.parametrize("fps", ["3", "5", "10"])
def test_the_bearded_man_is_one_violation(shared: Path, fps: str) -> None:
    found = run_replay(shared / "clips" / "man-no-mask.mp4", "--fps", fps)
    assert labels(found, "passages") == labels(found, "violations") == ["no_mask"]


@pytest.mark.parametrize("fps", ["3", "5", "10"])
def test_the_masked_woman_is_no_violation(shared: Path, fps: str) -> None:
    found = run_replay(shared / "clips" / "woman-mask.mp4", "--fps", fps)
    assert labels(found, "passages") == ["mask"] and found["violations"] == []


@pytest.mark.parametrize("fps", ["5", "10"])
def test_the_man_who_puts_a_mask_on_is_one_person_whose_violation_closes(shared: Path, fps: str) -> None:
    found = run_replay(shared / "clips" / "man-puts-mask-on.mp4", "--fps", fps)
    assert labels(found, "passages") == ["mask"]
    (violation,) = found["violations"]
    assert violation["label"] == "no_mask" and violation["end"] < 4.0


@pytest.mark.parametrize("fps", ["5", "10"])
def test_four_people_each_bare_first_and_the_print_never(shared: Path, fps: str) -> None:
    found = run_replay(shared / "clips" / "four-people.mp4", "--fps", fps)
    people = [row for row in found["passages"] if row["label"] != "unsure"]
    assert len(people) == 4
    assert 4 <= len(found["violations"]) <= 6
    for violation in found["violations"]:
        x1, y1, x2, y2 = violation["box"]
        assert not (x1 > 0.47 and x2 < 0.54 and y2 < 0.32), "the print on the wall is not a person"
        assert x2 > x1 and y2 > y1 and violation["end"] is not None


def test_the_two_who_follow_each_other_are_two() -> None:
    found = run_replay(DEMO_CLIPS / "harbour-house.mp4")
    assert labels(found, "violations") == ["no_mask", "no_mask"]
    assert labels(found, "passages") == ["mask", "no_mask", "no_mask"]


def test_in_maple_tower_one_puts_a_mask_on_and_one_passes_far_away() -> None:
    found = run_replay(DEMO_CLIPS / "maple-tower.mp4")
    assert labels(found, "passages") == ["mask", "mask", "no_mask"]
    first, second = found["violations"]
    assert 11 < first["end"] < 14.5 and second["start"] > 16


def test_the_masked_only_clip_gives_no_violation() -> None:
    found = run_replay(DEMO_CLIPS / "masked-only.mp4")
    assert labels(found, "passages") == ["mask", "mask"] and found["violations"] == []


def test_the_demos_clips_are_what_the_readme_says() -> None:
    import av

    for path in DEMO_CLIPS.glob("*.mp4"):
        assert path.stat().st_size < 1_000_000
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            shape = (video.codec_context.name, video.width, video.height, video.average_rate)
        assert shape == ("h264", 1280, 720, Fraction(15))


def test_replay_writes_a_clip_with_boxes(tmp_path: Path) -> None:
    import av

    out = tmp_path / "seen.mp4"
    run_replay(DEMO_CLIPS / "masked-only.mp4", "--out", str(out))
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 240


@pytest.mark.parametrize("clip", ["harbour-house", "maple-tower"])
def test_a_camera_that_is_looked_at_once_a_second_comes_to_the_same(clip: str) -> None:
    found = run_replay(DEMO_CLIPS / f"{clip}.mp4", "--fps", "1")
    assert labels(found, "violations") == ["no_mask", "no_mask"] and len(found["passages"]) == 3


def test_replay_into_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be written"):
        run_replay(DEMO_CLIPS / "masked-only.mp4", "--out", str(tmp_path / "nowhere" / "x.mp4"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda clip: b"", "not a video"),
        (lambda clip: b"this is no clip" * 100, "not a video"),
        (lambda clip: clip[: len(clip) // 2], "cut or broken|not a video"),
    ],
    ids=["empty", "text", "cut"],
)
def test_a_clip_that_is_none_or_cut_is_a_clear_error(tmp_path: Path, make: Any, says: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(make((DEMO_CLIPS / "masked-only.mp4").read_bytes()))
    with pytest.raises(CommandError, match=says):
        run_replay(path)


def test_a_clip_of_50_megapixel_frames_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "huge.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 8192, 6144, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(8192, 6144, "yuvj420p")))
        container.mux(stream.encode())
    with pytest.raises(CommandError, match="megapixels"):
        run_replay(path)


def test_detect_names_the_unreadable_picture_and_goes_on(tmp_path: Path) -> None:
    from PIL import Image
    from skimage import data

    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(data.astronaut()).save(good)
    bad.write_bytes(b"no picture")
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError, match="1 of 2"):
        call_command("detect", str(bad), str(good), "--json", "--out", str(tmp_path / "drawn"), stdout=out, stderr=err)
    assert json.loads(out.getvalue())[str(good)][0]["label"] == "no_mask"
    assert "bad.png is not a picture" in err.getvalue()
    assert (tmp_path / "drawn" / "good.jpg").exists()
