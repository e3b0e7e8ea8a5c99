"""Views for reports and Grafana, and the role that may read them and nothing else (docs/grafana.md). PostgreSQL only.

A later migration that changes a column which a view reads drops that view first, and makes it again.
"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, migrations, transaction

READER = "mask_portal_reports"
COUNTS = """
    f.mask, f.no_mask, f.incorrect, f.mask + f.no_mask + f.incorrect AS seen, f.unsure, f.dismissed, f.reminded,
    f.reminded_masked, f.unasked, f.unasked_masked, f.watched_s, f.lost_s"""
WHERE = "s.id AS site_id, s.name AS site, c.id AS camera_id, c.name AS camera"
VIEWS = {
    "report_sites": """
        SELECT s.id AS site_id, s.name AS site, s.time_zone, coalesce(p.mask_goal, {goal}) / 100.0 AS goal,
               coalesce(n.to_review, 0) AS to_review
        FROM cameras_site s
        LEFT JOIN portal_sitepolicy p ON p.site_id = s.id
        LEFT JOIN portal_sitefeed n ON n.site_id = s.id
        WHERE s.archived_at IS NULL""",
    "report_cameras": f"""
        SELECT {WHERE}, c.paused, l.state, l.state_since, l.worker
        FROM cameras_camera c
        JOIN cameras_site s ON s.id = c.site_id AND s.archived_at IS NULL
        LEFT JOIN cameras_cameralease l ON l.camera_id = c.id
        WHERE c.deleted_at IS NULL""",
    "report_hours": f"""
        SELECT {WHERE}, f.start, f.day, f.hour, f.weekday, {COUNTS}
        FROM portal_figures f
        JOIN cameras_site s ON s.id = f.site_id
        JOIN cameras_camera c ON c.id = f.camera_id
        WHERE f.span = 'hour'""",
    "report_days": f"""
        SELECT {WHERE}, f.start, f.day, f.weekday, {COUNTS}
        FROM portal_figures f
        JOIN cameras_site s ON s.id = f.site_id
        JOIN cameras_camera c ON c.id = f.camera_id
        WHERE f.span = 'day'""",
    "report_violations": f"""
        SELECT v.id, {WHERE}, v.label, v.confidence, v.started_at, v.ended_at, v.masked_at, v.status
        FROM portal_violation v
        JOIN cameras_site s ON s.id = v.site_id
        JOIN cameras_camera c ON c.id = v.camera_id""",
    "report_outages": f"""
        SELECT o.id, {WHERE}, o.began_at, o.ended_at, o.reason
        FROM cameras_outage o
        JOIN cameras_camera c ON c.id = o.camera_id
        JOIN cameras_site s ON s.id = c.site_id""",
}


def make(apps: Any, editor: Any) -> None:
    if editor.connection.vendor != "postgresql":
        return
    goal = apps.get_model("portal", "SitePolicy")._meta.get_field("mask_goal").default
    with editor.connection.cursor() as cursor:
        for name, query in VIEWS.items():
            cursor.execute(f"CREATE OR REPLACE VIEW {name} AS {query.format(goal=int(goal))}")
        if may_have_reader(cursor, editor.connection.alias):
            cursor.execute("SELECT current_schema()")
            (schema,) = cursor.fetchone()
            quoted = editor.connection.ops.quote_name(schema)
            cursor.execute(f"GRANT USAGE ON SCHEMA {quoted} TO {READER}")
            cursor.execute(f"GRANT SELECT ON {', '.join(VIEWS)} TO {READER}")


def may_have_reader(cursor: Any, alias: str) -> bool:
    """Make the role, which is the whole server's, unless it is there. False if this user may make none."""
    try:
        with transaction.atomic(alias):
            cursor.execute(f"CREATE ROLE {READER} NOLOGIN")
    except DatabaseError:  # it is there, or it may not be made: then the operator makes it, as docs/grafana.md says
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [READER])
        return cursor.fetchone() is not None
    return True


def drop(apps: Any, editor: Any) -> None:
    if editor.connection.vendor == "postgresql":
        with editor.connection.cursor() as cursor:
            cursor.execute(f"DROP VIEW IF EXISTS {', '.join(VIEWS)}")


class Migration(migrations.Migration):
    dependencies = [("portal", "0013_figures"), ("cameras", "0009_state_not_known")]

    operations = [migrations.RunPython(make, drop)]
