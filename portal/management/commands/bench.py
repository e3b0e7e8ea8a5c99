"""manage.py bench PART: the figures quoted in README, docs and the model card."""

from __future__ import annotations

import json
import secrets
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cameras.replay import stream_load
from detection import DetectionError, read_picture
from detection.evaluation.speed import bench, lobby_picture
from detection.manifest import MODELS
from portal.demo import seed
from portal.figures import speed
from portal.server import mqtt_latency, page_times, recording_rate, scrape_time, slow_peers

PARTS = ("detector", "streams", "peers", "mqtt", "reports", "metrics", "recording", "pages")
SIZES = (320, 512)
PEOPLE = 200  # of bench recording
STREAMS = (1, 4, 8, 16, 32)


class Command(BaseCommand):
    help = "Measure how fast the product's parts are, on this machine."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", choices=PARTS, help="what to measure")
        parser.add_argument(
            "--reference", type=Path, metavar="FILE.tflite", help="the original model, to compare with ours"
        )
        parser.add_argument("--picture", type=Path, help="measure with this picture, not a generated one of 1280x720")
        parser.add_argument("--rounds", type=int, default=200, help="how often each stage runs (200)")
        parser.add_argument("--cameras", type=int, help="of bench streams (a table of 1, 4, 8, 16 and 32)")
        parser.add_argument("--size", choices=list(stream_load.SIZES), default="720p", help="of bench streams (720p)")
        parser.add_argument("--seconds", type=float, default=20, help="of bench streams, for each row (20)")
        parser.add_argument("--moving", type=float, default=1.0, help="the share of cameras that show people (1)")
        parser.add_argument("--seed", type=int, help="which cameras show people, of bench streams (drawn anew)")
        parser.add_argument("--broker", default="mqtt://127.0.0.1", help="of bench mqtt (mqtt://127.0.0.1)")
        parser.add_argument(
            "--database", default="", help="of bench reports, recording and pages: an empty one, by its URL (SQLite)"
        )
        parser.add_argument(
            "--violations", type=int, help="of bench mqtt, in a minute (1000); of bench pages, stored (1000000)"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["part"] == "peers":
            self.measure_peers(options["json"])
        elif options["part"] == "reports":
            self.measure_reports(options["database"], options["json"])
        elif options["part"] == "recording":
            self.measure_recording(options["database"], options["json"])
        elif options["part"] == "pages":
            self.measure_pages(options["violations"] or 1_000_000, options["database"], options["json"])
        elif options["part"] == "metrics":
            self.measure_metrics(options["rounds"], options["json"])
        elif options["part"] == "streams":
            self.measure_streams(options)
        elif options["part"] == "mqtt":
            self.measure_mqtt(options["broker"], options["violations"] or 1000, options["json"])
        else:
            self.measure_detector(options)

    def measure_peers(self, as_json: bool) -> None:
        figures = slow_peers.measure(bodies=200, heads=500, endless=10, sign_ins=60)
        if as_json:
            self.stdout.write(json.dumps([asdict(each) for each in figures], indent=1))
            return
        self.stdout.write("The sign-in page, ms: median (slowest); the web process' memory, MB")
        for each in figures:
            self.stdout.write(f"{each.phase:45}{each.page_ms:8.1f}  ({each.slowest_ms:.1f}){each.memory_mb:8.0f}")

    def measure_reports(self, database: str, as_json: bool) -> None:
        found = speed.measure(database)
        if as_json:
            self.stdout.write(json.dumps([asdict(each) for each in found], indent=1))
            return
        for each in found:
            self.stdout.write(f"{speed.CAMERAS} cameras at {speed.SITES} sites, {each.days_stored} days stored, ms:")
            self.stdout.write(f"  28 days of all sites {each.month_of_all_ms}, a year {each.year_of_all_ms}")
            self.stdout.write(f"  a year of a site {each.year_of_a_site_ms}, of a camera {each.year_of_a_camera_ms}")

    def measure_metrics(self, rounds: int, as_json: bool) -> None:
        found = scrape_time.measure(rounds)
        if as_json:
            self.stdout.write(json.dumps(asdict(found), indent=1))
            return
        self.stdout.write(f"/metrics with {found.cameras} cameras ({found.lines} lines), ms: median {found.median_ms}")
        self.stdout.write(f"slowest {found.slowest_ms}")

    def measure_recording(self, database: str, as_json: bool) -> None:
        try:
            found = recording_rate.measure(PEOPLE, database)
        except OSError as error:
            raise CommandError(f"Nothing could be recorded: {error}") from error
        if as_json:
            self.stdout.write(json.dumps(asdict(found), indent=1))
            return
        self.stdout.write(f"{found.findings} findings of {found.people} people, each with a picture of")
        self.stdout.write(f"{found.picture_kb} KB: {found.a_second} recorded a second")

    def measure_pages(self, violations: int, database: str, as_json: bool) -> None:
        try:
            found = page_times.measure(violations, database)
        except OSError as error:
            raise CommandError(f"The pages could not be measured: {error}") from error
        if as_json:
            self.stdout.write(json.dumps(asdict(found), indent=1))
            return
        self.stdout.write(f"{found.database}, {found.violations} violations, {found.cameras} cameras; ms, and KB")
        self.stdout.write(f"{'page':40}{'median':>9}{'p95':>9}{'KB':>9}")
        for each in found.pages:
            self.stdout.write(f"{each.page:40}{each.median_ms:9.1f}{each.p95_ms:9.1f}{each.kb:9.1f}")
        self.stdout.write(f"the list, asked for by four at once: {found.lists_a_second} a second")

    def measure_mqtt(self, url: str, violations: int, as_json: bool) -> None:
        try:
            figures = mqtt_latency.measure(url, violations)
        except (ValueError, OSError) as error:
            raise CommandError(f"{url}: {error} Start one, like `mosquitto`, and name it with --broker.") from error
        if as_json:
            self.stdout.write(json.dumps(asdict(figures), indent=1))
            return
        self.stdout.write(f"{figures.sent} violations in {figures.seconds:.0f} s: {figures.arrived} arrived")
        self.stdout.write(f"{figures.doubled} of them twice. From the row's commit to the subscriber, ms:")
        self.stdout.write(f"median {figures.median_ms:.0f}, 95 of 100 within {figures.p95_ms:.0f}")
        self.stdout.write(f"slowest {figures.slowest_ms:.0f}")

    def measure_streams(self, options: dict[str, Any]) -> None:
        counts = [options["cameras"]] if options["cameras"] is not None else list(STREAMS)
        if min(counts) < 1 or options["seconds"] <= 0 or not 0 <= options["moving"] <= 1:
            raise CommandError("--cameras is 1 or more, --seconds more than 0, and --moving from 0 to 1.")
        drawn = secrets.randbelow(1_000_000) if options["seed"] is None else options["seed"]
        found = []
        with tempfile.TemporaryDirectory() as folder:
            for cameras in counts:
                load = stream_load.Load(
                    cameras, options["size"], options["seconds"], options["moving"], options["reference"], drawn
                )
                try:
                    found.append(stream_load.measure(load, seed.CLIPS / "harbour-house.mp4", Path(folder)))
                except RuntimeError as error:
                    raise CommandError(str(error)) from error
                if not options["json"]:
                    self.show_streams(found[-1], is_first=len(found) == 1)
        if options["json"]:
            rows = [asdict(each) for each in found]
            self.stdout.write(json.dumps(rows[0] if options["cameras"] is not None else rows, indent=1))

    def show_streams(self, row: stream_load.LoadFigures, is_first: bool) -> None:
        if is_first:
            self.stdout.write(f"seed {row.seed}; CPU in percent of a core a camera, in brackets times the floor")
            head = ("cameras", "ours", "decoding", "naive", "analysed/s", "dropped", "p50, p95 ms", "MB more")
            self.stdout.write("".join(f"{each:>15}" for each in head))
        times = row.cpu_share_per_camera / max(1e-9, row.floor_cpu_share)
        late = "-" if row.latency_ms_p95 is None else f"{row.latency_ms_p50:.0f}, {row.latency_ms_p95:.0f}"
        naive = "too slow" if row.naive_cpu_share is None else f"{row.naive_cpu_share:.1%}"
        ours = f"{row.cpu_share_per_camera:.1%} ({times:.2f})"
        cells = (
            *(row.cameras, ours, f"{row.floor_cpu_share:.1%}", naive),
            *(row.analysed_fps, row.dropped, late, row.mb_per_camera),
        )
        self.stdout.write("".join(f"{each:>15}" for each in cells))
        self.stdout.write(f"{'':15}{', '.join(f'{name} {ms} ms' for name, ms in row.stages.items())}")

    def measure_detector(self, options: dict[str, Any]) -> None:
        if not 1 <= options["rounds"] <= 10_000:
            raise CommandError("--rounds must be a number from 1 to 10000.")
        try:
            picture = read_picture(options["picture"]) if options["picture"] else lobby_picture()
            figures = bench(SIZES, picture, options["rounds"], options["reference"], MODELS / "aizoo-260.json")
        except DetectionError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            result = {
                str(size): {f"{name}_ms": timing.median if timing else None for name, timing in rows.items()}
                | {"spread_ms": {name: [timing.low, timing.high] for name, timing in rows.items() if timing}}
                for size, rows in figures.items()
            }
            self.stdout.write(json.dumps(result, indent=1))
            return
        for size, rows in figures.items():
            self.stdout.write(f"\nlonger side {size}, one thread, ms: median (quartiles)")
            shipped = rows["shipped"]
            for name, timing in rows.items():
                if timing is None or shipped is None:
                    continue
                times = f"{timing.median / shipped.median:5.1f} x ours" if name.startswith("reference") else ""
                self.stdout.write(f"{name:18}{timing.median:8.2f}  ({timing.low:.2f} to {timing.high:.2f})  {times}")
