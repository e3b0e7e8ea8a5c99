from django.db import migrations


def add_first_rules(apps, schema_editor):
    """Sites that were there before get the rules that a new one gets (portal/models/alerts.py)."""
    Site, Rule = apps.get_model("cameras", "Site"), apps.get_model("portal", "Rule")
    for site in Site.objects.all():
        Rule.objects.bulk_create(
            [
                Rule(site=site, name="Trouble", topics=["outage", "no-worker", "portal"], during="always",
                     roles=["manager"]),
                Rule(site=site, name="The day's figures", topics=["daily"], during="always", roles=["manager"],
                     by_push=False),
                Rule(site=site, name="People without a mask", topics=["no_mask", "incorrect"],
                     roles=["manager", "reviewer"], by_email=False),
            ]
        )


class Migration(migrations.Migration):
    dependencies = [("portal", "0011_alerts")]
    operations = [migrations.RunPython(add_first_rules, migrations.RunPython.noop)]
