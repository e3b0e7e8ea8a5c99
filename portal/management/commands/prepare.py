"""What `make run` does before the first process starts: database, static files, demo, greeting."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection

from cameras.models import Site
from cameras.redis import Errors
from cameras.redis import connection as redis_connection
from portal import __version__
from portal.demo import seed
from portal.models import User
from portal.pages.qr import qr_in_text
from portal.pages.sign_in import first_user_link
from portal.server import certificates, environment, index_statistics, static_files, upgrade

MOST_ADDRESSES = 4  # that are printed


class Command(BaseCommand):
    help = "Bring the database up to date, collect static files, create the demo (DEMO=1), write DATA_DIR/greeting."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            connection.ensure_connection()
        except DatabaseError as error:
            raise CommandError(
                f"The database does not answer ({str(error).splitlines()[0]}). Start it, or fix DATABASE_URL."
            ) from error
        try:
            redis_connection().ping()
        except Errors as error:
            raise CommandError(
                f"Redis does not answer ({type(error).__name__}). Start it, or fix REDIS_URL."
            ) from error
        if newer := upgrade.made_by_a_newer_version():
            raise CommandError(
                f"This data was opened by a newer version of the portal (it has {newer[-1]}); this is {__version__}. "
                "Install that version again, or restore a backup that this one made. Nothing was changed."
            )
        if not upgrade.is_up_to_date():
            call_command("migrate", interactive=False, verbosity=0)
        index_statistics.refresh()
        self.check_whose_folder()
        if not settings.PORTAL:
            static_files.collect()
        if settings.OWN_CERTIFICATE and not settings.PORTAL:
            names, addresses = certificates.machine_names(), certificates.machine_addresses()
            certificates.ensure(settings.CERTIFICATES, names, addresses)
        environment.private_file(settings.DATA_DIR / "greeting", self.greeting() + "\n")

    def check_whose_folder(self) -> None:
        """A worker at a site and a portal cannot share one: sites and cameras there have the other's numbers."""
        mark = settings.DATA_DIR / "worker-at-a-site"
        if settings.PORTAL and (User.objects.exists() or Site.objects.exists()) and not mark.exists():
            raise CommandError(
                f"{settings.DATA_DIR} is the folder of a portal. Name another one for this worker: DATA_DIR=..."
            )
        if mark.exists() and not settings.PORTAL:
            raise CommandError(
                f"{settings.DATA_DIR} is the folder of a worker at a site. Set PORTAL and KEY, or name another folder."
            )
        if settings.PORTAL:
            if mark.exists() and (known := mark.read_text().strip()) not in {"", settings.PORTAL}:
                raise CommandError(
                    f"{settings.DATA_DIR} holds what was seen for {known}. Name another folder for {settings.PORTAL}."
                )
            mark.write_text(settings.PORTAL + "\n")

    def greeting(self) -> str:
        """What `make run` prints once everything is up; after a form feed, what is only for a terminal: a QR code."""
        if settings.PORTAL:
            lines = ["", f"  This worker watches for  {settings.PORTAL}/"]
            lines += ["  The site's page “Workers” there says whether it is heard."]
            return "\n".join([*lines, "", f"  Ctrl-C stops it. What it stored stays in {settings.DATA_DIR}.", ""])
        lines = ["", f"  The mask portal is ready:  {settings.BASE_URL}/", ""]
        login = seed.ensure_demo() if settings.DEMO else None
        if login:
            lines += [
                f"  Sign in as   {login.email}",
                f"  Password     {login.password}",
                f"               (kept in {login.path})",
            ]
        elif not User.objects.exists():
            lines += ["  Nobody can sign in yet. Create the first user with this link, valid once and for a day:", ""]
            lines += [f"  {first_user_link()}"]
        else:
            lines += ["  Sign in with your e-mail and password."]
        others = [] if settings.PUBLIC_URL else settings.REACHABLE[:MOST_ADDRESSES]
        if others:
            lines += ["", "  From other devices in this network:", *(f"    {address}/" for address in others)]
        if settings.OWN_CERTIFICATE:
            lines += ["", f"  For a phone's camera, open this on the phone once:  {settings.BASE_URL}/connect/"]
        text = "\n".join([*lines, "", "  Ctrl-C stops it. What it stored stays in " + str(settings.DATA_DIR) + ".", ""])
        page = "connect/" if settings.OWN_CERTIFICATE else ""
        return f"{text}\f{qr_in_text(f'{others[0]}/{page}')}" if others else text
