from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Mask portal"

    def ready(self) -> None:
        """Let tasks sent from here find our Celery application. Not in portal/__init__.py because of the supervisor."""
        from portal import celery  # noqa: F401
        from portal.people import audit  # noqa: F401  (it listens to sign-ins)
