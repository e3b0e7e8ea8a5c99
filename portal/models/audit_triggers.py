"""Triggers that make the audit log append-only, for SQLite and PostgreSQL. Used by a migration."""

from __future__ import annotations

REFUSAL = "the audit log is append-only"


def create(vendor: str) -> list[str]:
    """Statements that forbid UPDATE and DELETE."""
    if vendor == "sqlite":
        return [
            f"CREATE TRIGGER IF NOT EXISTS audit_no_{verb.lower()} BEFORE {verb} ON portal_auditentry "
            f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    return [
        "CREATE OR REPLACE FUNCTION portal_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$",
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON portal_auditentry "
        "FOR EACH ROW EXECUTE FUNCTION portal_audit_refuse()",
    ]


def drop(vendor: str) -> list[str]:
    """Statements that drop the triggers."""
    if vendor == "sqlite":
        return [f"DROP TRIGGER IF EXISTS audit_no_{verb}" for verb in ("update", "delete")]
    return [
        "DROP TRIGGER IF EXISTS audit_append_only ON portal_auditentry",
        "DROP FUNCTION IF EXISTS portal_audit_refuse()",
    ]
