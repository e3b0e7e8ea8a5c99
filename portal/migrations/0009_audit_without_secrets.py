"""Links that are keys (invitations, new passwords, the first user) stood in the audit log as they were opened.

The log is append-only, and stays so: the triggers are dropped and made again inside this migration's one transaction, so
nobody else ever sees the table without them; only the secret part of these paths is replaced, nothing else of an entry
and no other entry; and a new entry says how many were changed.
"""

import re

from django.db import migrations
from django.utils import timezone

from portal.models.audit_triggers import create, drop

LINK = re.compile(r"^/(invitation|password|first-user)/[^?]+")
STEP = 500


def forwards(apps, schema_editor):
    entries = apps.get_model("portal", "AuditEntry").objects.using(schema_editor.connection.alias)
    vendor = schema_editor.connection.vendor
    for statement in drop(vendor):
        schema_editor.execute(statement)
    changed = 0
    for prefix in ("/invitation/", "/password/", "/first-user/"):
        for entry in entries.filter(action="viewed", subject__startswith=prefix).iterator(STEP):
            hidden = LINK.sub(r"/\1/…/", entry.subject)
            if hidden != entry.subject and entry.subject != "/password/sent/":
                changed += entries.filter(pk=entry.pk).update(subject=hidden)
    if changed:
        text = f"the secret part of {changed} addresses of links was removed from this log"
        entries.create(action="administered", subject=text, at=timezone.now())
    for statement in create(vendor):
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("portal", "0008_heartbeat")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
