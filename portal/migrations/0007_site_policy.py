"""What a site wants moves from cameras' row of the site to one of the portal's; every value comes along."""

import django.core.validators
import django.db.models.deletion
import portal.models.policy
from django.db import migrations, models

FIELDS = (
    "language",
    "opening_hours",
    "alert_when_closed",
    "reminder_hours",
    "thanks",
    "mask_goal",
    "retention_days",
)


def copy(apps, schema_editor):
    site_model, policy_model = apps.get_model("cameras", "Site"), apps.get_model("portal", "SitePolicy")
    for row in site_model.objects.values("pk", *FIELDS).iterator():
        policy_model.objects.create(site_id=row.pop("pk"), **row)


def copy_back(apps, schema_editor):
    site_model, policy_model = apps.get_model("cameras", "Site"), apps.get_model("portal", "SitePolicy")
    for row in policy_model.objects.values("site_id", *FIELDS).iterator():
        site_model.objects.filter(pk=row.pop("site_id")).update(**row)


class Migration(migrations.Migration):
    dependencies = [("cameras", "0005_voice"), ("portal", "0006_voice")]

    operations = [
        migrations.CreateModel(
            name="SitePolicy",
            fields=[
                ("site", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name="policy", serialize=False, to="cameras.site", verbose_name="site")),
                ("language", models.CharField(choices=portal.models.policy.LANGUAGES, default="en", help_text="Its doors speak this language.", max_length=8, verbose_name="language")),
                ("opening_hours", models.JSONField(blank=True, default=dict, validators=[portal.models.policy.check_hours], verbose_name="opening hours")),
                ("alert_when_closed", models.BooleanField(default=False, help_text="Without it, what is seen then is kept and listed, but nobody is alerted.", verbose_name="alert outside the opening hours, too")),
                ("reminder_hours", models.JSONField(blank=True, default=dict, validators=[portal.models.policy.check_hours], verbose_name="reminder hours")),
                ("thanks", models.BooleanField(default=False, help_text="The door thanks people who wear a mask, or put one on.", verbose_name="thank people who wear a mask")),
                ("mask_goal", models.PositiveSmallIntegerField(default=95, help_text="What the reports compare against.", validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)], verbose_name="goal")),
                ("retention_days", models.PositiveSmallIntegerField(default=30, help_text="Violations, their pictures and passages are deleted after this many days.", validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(3650)], verbose_name="days to keep")),
            ],
            options={"verbose_name": "site's policy", "verbose_name_plural": "sites' policies"},
        ),
        migrations.RunPython(copy, copy_back),
    ]
