"""Where pictures of violations are stored: a folder, or a bucket that several machines share (PICTURES).

All of it goes through Django's storage: whoever reads or writes a picture does not know which of them it is.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3Storage

Call = TypeVar("Call", bound=Callable[..., Any])
WAITS_S = 5
TRIES = 2


def options(url: str) -> dict[str, object]:
    """S3Storage's options for s3://KEY:SECRET@HOST/BUCKET, or s3+http:// without TLS; raises ValueError."""
    parts = urlsplit(url)
    bucket = parts.path.strip("/")
    if not (parts.hostname and parts.username and parts.password and bucket) or "/" in bucket:
        raise ValueError("an address without a key, a secret, a host or a bucket")
    port = f":{parts.port}" if parts.port else ""
    return {
        "access_key": unquote(parts.username),
        "secret_key": unquote(parts.password),
        "endpoint_url": f"{'http' if parts.scheme == 's3+http' else 'https'}://{parts.hostname}{port}",
        "bucket_name": bucket,
        "file_overwrite": False,
        "default_acl": None,  # private, as the bucket is
    }


def as_disk(call: Call) -> Call:
    """What goes wrong there is an OSError, as it would be on a disk: waited out, and nothing is lost meanwhile."""

    @wraps(call)
    def wrapped(*args: Any, **given: Any) -> Any:
        try:
            return call(*args, **given)
        except (BotoCoreError, ClientError) as error:
            raise OSError(errno.EIO, f"the store of pictures: {error}") from error

    return wrapped  # type: ignore[return-value]


class BucketStorage(S3Storage):
    """A bucket of S3, or of a server that speaks as it does. Its pictures have no address that anybody could open."""

    def get_default_settings(self) -> dict[str, Any]:
        found: dict[str, Any] = super().get_default_settings()
        waits = {"connect_timeout": WAITS_S, "read_timeout": WAITS_S, "retries": {"max_attempts": TRIES}}
        return found | {"client_config": Config(signature_version="s3v4", s3={"addressing_style": "path"}, **waits)}

    def url(self, name: str | None, *args: Any, **given: Any) -> str:
        raise ValueError("A picture has no address: people/pictures.py is its door.")

    _save = as_disk(S3Storage._save)
    _open = as_disk(S3Storage._open)
    delete = as_disk(S3Storage.delete)
    exists = as_disk(S3Storage.exists)
    size = as_disk(S3Storage.size)
    listdir = as_disk(S3Storage.listdir)
    get_modified_time = as_disk(S3Storage.get_modified_time)
