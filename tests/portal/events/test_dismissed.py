"""Why something was dismissed: said by who reviews, counted in the figures, and taken out for training."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from PIL import Image

from portal.events.review import review
from portal.figures.hours import count_new
from portal.figures.reports import report
from portal.models import AuditEntry, User, Violation
from tests.worlds import BOX, World, jpeg, see

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]


def test_a_reason_goes_with_the_dismissal_and_with_it_again(world: World, sign_in: SignIn) -> None:
    violation, client = see(world.door), sign_in(world.alice)
    client.post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": "dismiss:masked", "note": "a scarf"})
    violation.refresh_from_db()
    assert (violation.status, violation.reason, violation.note) == ("dismissed", "masked", "a scarf")
    assert "Wearing a mask" in client.get(f"/violations/{violation.pk}/").content.decode()
    assert AuditEntry.objects.filter(action="reviewed", subject="dismiss (masked): 1").exists()
    client.post("/violations/review/", {"seen": f"{violation.pk}:1", "decision": "reopen"})
    violation.refresh_from_db()
    assert (violation.status, violation.reason) == ("open", "")


def test_many_are_dismissed_with_one_reason(world: World, sign_in: SignIn) -> None:
    rows = [see(world.door) for _ in range(3)]
    seen = [f"{row.pk}:0" for row in rows]
    sign_in(world.bob).post("/violations/review/", {"seen": seen, "decision": "dismiss:nobody"})
    assert set(Violation.objects.values_list("status", "reason")) == {("dismissed", "nobody")}


@pytest.mark.parametrize("decision", ["dismiss:lies", "confirm:masked", "reopen:nobody", "dismiss:masked:x"])
def test_a_reason_that_there_is_not_decides_nothing(world: World, sign_in: SignIn, decision: str) -> None:
    violation = see(world.door)
    answer = sign_in(world.alice).post("/violations/review/", {"seen": f"{violation.pk}:0", "decision": decision})
    assert answer.status_code == 400
    with pytest.raises(ValidationError, match="no such reason"):
        review(world.alice, {violation.pk: 0}, "dismissed", reason="lies")
    violation.refresh_from_db()
    assert violation.status == "open"


def test_in_the_figures_who_was_masked_after_all_is_and_who_cannot_be_seen_is_unsure(world: World) -> None:
    at = time.time() - 60
    for reason in ("masked", "unclear", "exempt", "nobody", ""):
        row = see(world.door, at)
        review(world.alice, {row.pk: 0}, "dismissed", reason=reason)
    see(world.door, at)
    count_new()
    today = world.here.local(Violation.objects.earliest("started_at").started_at).date()
    total = report([world.here], today - timedelta(days=1), today + timedelta(days=1)).total
    assert (total.mask, total.unsure, total.dismissed, total.no_mask) == (1, 1, 3, 1)


def test_crops_boxes_and_reasons_are_taken_out_and_the_log_says_so(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for reason in ("masked", "nobody", ""):
        review(world.alice, {see(world.door).pk: 0}, "dismissed", reason=reason)
    review(world.charlie, {see(world.hall).pk: 0}, "dismissed", reason="nobody")
    see(world.door)
    call_command("export-dismissed", str(tmp_path / "out"))
    assert "4 in" in capsys.readouterr().out
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert sorted(each["reason"] for each in index) == ["masked", "nobody", "nobody", "unsaid"]
    for each in index:
        path = tmp_path / "out" / each["picture"]
        assert path.stat().st_mode & 0o777 == 0o600
        crop, whole = Image.open(io.BytesIO(path.read_bytes())), Image.open(io.BytesIO(jpeg()))
        wide, tall = (BOX[2] - BOX[0]) * whole.width, (BOX[3] - BOX[1]) * whole.height
        assert abs(crop.width - 2 * wide) <= 2 and abs(crop.height - 2 * tall) <= 2
        assert each["box"] == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=0.02)
    noted = AuditEntry.objects.filter(action="exported").values_list("site", "subject")
    assert set(noted) == {("Harbour House", "dismissed violations: 3"), ("Maple Tower", "dismissed violations: 1")}
    with pytest.raises(CommandError, match="not empty"):
        call_command("export-dismissed", str(tmp_path / "out"))
