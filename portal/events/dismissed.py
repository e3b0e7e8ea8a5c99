"""Dismissed violations for whoever owns the detector: crops, boxes and reasons, to train on, or to look at.

    export(Path("dismissed"))

    dismissed/
      index.json    [{"picture": "nobody/0198….jpg", "reason": "nobody", "label": "no_mask", "box": [0.4, …], …}]
      nobody/0198….jpg

A picture is a crop around the face, twice its size, and the box is that of the face in the crop. Everybody else in it
is pixelated, as in all pictures that leave the portal.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from portal.models import AuditEntry, Violation
from portal.people import audit
from portal.people.access import Audience
from portal.people.pictures import PictureGoneError, enlarged, render

AROUND = 0.5  # of its size, to each side: twice the size
UNSAID = "unsaid"


def export(folder: Path) -> Counter[str]:
    """Write all of them; returns how many there are of each reason. Raises OSError; FileExistsError if it is not empty.

    Each site's log says how many of its pictures were taken out.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty. Name another folder.")
    counts: Counter[str] = Counter()
    sites: Counter[Any] = Counter()
    found = []
    for row, entry, jpeg in _crops():
        path = folder / entry["picture"]
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_bytes(jpeg)
        path.chmod(0o600)
        found.append(entry)
        counts[entry["reason"]] += 1
        sites[row.site] += 1
    (folder / "index.json").write_text(json.dumps(found, indent=1) + "\n")
    for site, count in sites.items():
        audit.note(None, AuditEntry.Action.EXPORTED, f"dismissed violations: {count}", site)
    return counts


def _crops() -> Iterator[tuple[Violation, dict[str, Any], bytes]]:
    rows = Violation.objects.filter(status=Violation.Status.DISMISSED).exclude(snapshot="").select_related("site")
    for row in rows.order_by("pk").iterator(200):
        if len(row.box) != 4:
            continue
        try:
            whole = Image.open(io.BytesIO(render(row, Audience.FACES)))
        except PictureGoneError:
            continue
        width, height = whole.size
        left, top, right, bottom = enlarged(whole.size, row.box, AROUND)
        crop = whole.crop((left, top, right, bottom))
        out = io.BytesIO()
        crop.save(out, "JPEG", quality=92)
        x1, y1, x2, y2 = row.box
        box = [
            (x1 * width - left) / crop.width, (y1 * height - top) / crop.height,
            (x2 * width - left) / crop.width, (y2 * height - top) / crop.height,
        ]  # fmt: skip
        reason = row.reason or UNSAID
        yield (
            row,
            {
                "picture": f"{reason}/{row.pk}.jpg",
                "reason": reason,
                "label": row.label,
                "confidence": round(row.confidence, 3),
                "box": [round(min(1.0, max(0.0, edge)), 4) for edge in box],
                "at": row.started_at.isoformat(),
                "camera": row.camera_id,
            },
            out.getvalue(),
        )
