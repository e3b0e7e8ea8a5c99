"""The API for programs that read, and for those that are cameras: /api/v1/, with its page at /api/docs.

Errors are problem+json (RFC 9457).
"""

from portal.api.documents import addresses

__all__ = ["addresses"]
