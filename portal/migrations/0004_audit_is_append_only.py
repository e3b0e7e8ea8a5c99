"""The database itself refuses to change or delete an entry of the audit log."""

from django.db import migrations

from portal.models.audit_triggers import create, drop


def forwards(apps, schema_editor):
    for statement in create(schema_editor.connection.vendor):
        schema_editor.execute(statement)


def backwards(apps, schema_editor):
    for statement in drop(schema_editor.connection.vendor):
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("portal", "0003_people_and_audit")]
    operations = [migrations.RunPython(forwards, backwards)]
