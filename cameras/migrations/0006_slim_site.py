"""What a site wants lies in the portal's row now (portal 0007 took it along)."""

from django.db import migrations

FIELDS = (
    "language",
    "opening_hours",
    "alert_when_closed",
    "reminder_hours",
    "thanks",
    "mask_goal",
    "retention_days",
)


class Migration(migrations.Migration):
    dependencies = [("cameras", "0005_voice"), ("portal", "0007_site_policy")]

    operations = [migrations.RemoveField(model_name="site", name=name) for name in FIELDS]
