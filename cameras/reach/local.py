"""Which clips and USB cameras, which are on a worker's own machine, may be watched at which site.

Whoever may add a camera at one site must not see what another site's camera shows, so the operator says which belongs
where: LOCAL_CAMERAS, a list of SITE:SOURCE. A site is its number, or * for any; a source may have * and ? in it.

    LOCAL_CAMERAS=3:/dev/video0,3:lobby-*.mp4,7:/dev/video2
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from django.conf import settings
from django.utils.translation import gettext as _

from cameras.errors import AddressError

ANY = "*"


def is_assigned(site_id: int, source: str) -> bool:
    """Whether this clip or device belongs to the site; a site of 0 is none."""
    return any(
        (site == ANY or site == str(site_id)) and fnmatchcase(source, pattern)
        for site, pattern in settings.LOCAL_CAMERAS
    )


def check_assigned(site_id: int, source: str) -> None:
    """Raise AddressError, with what the operator has to write, unless it belongs to the site."""
    if not is_assigned(site_id, source):
        raise AddressError(
            _("This does not belong to this site. The operator assigns it: LOCAL_CAMERAS=%(entry)s")
            % {"entry": f"{site_id or _('site number')}:{source}"}
        )
