"""An HTTP answer's head as a browser would take it: cameras write many that RFC 9112 forbids, and httpx refuses.

ICY 200 OK                        HTTP/1.0 200 OK
Tue, 12 Jun 2012 01:56:34 GMT     (a line without a name is left out)
Content-Type : image/jpeg         Content-Type: image/jpeg
Content-Length: -1                (left out: the body ends with the connection)
"""

from __future__ import annotations

import re

MOST_BYTES = 65_536
END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"(ICY|HTTP/\d(?:\.\d)?)[ \t]+(\d{3})(?:[ \t]+([^\r\n]*))?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def may_begin(data: bytes) -> bool:
    """Whether an answer's head may begin with these bytes."""
    return any(data[: len(known)] == known[: len(data)] for known in (b"ICY ", b"HTTP/"))


def repaired(head: bytes) -> bytes:
    """A head, up to and without its empty line, in the form of RFC 9112; unchanged if it is none."""
    first, *lines = re.split(rb"\r?\n", head)
    status = _STATUS.fullmatch(first.strip())
    if status is None:
        return head
    version = b"HTTP/1.1" if status[1] == b"HTTP/1.1" else b"HTTP/1.0"
    fields = [(name.strip(), _CONTROL.sub(b"", value).strip()) for name, colon, value in map(split, lines) if colon]
    fields = [(name, value) for name, value in fields if _NAME.fullmatch(name)]
    is_chunked = any(name.lower() == b"transfer-encoding" and value.lower() == b"chunked" for name, value in fields)
    lengths = {value for name, value in fields if name.lower() == b"content-length"}
    kept = [(name, value) for name, value in fields if name.lower() not in {b"content-length", b"transfer-encoding"}]
    if is_chunked:
        kept.append((b"Transfer-Encoding", b"chunked"))
    elif len(lengths) == 1 and re.fullmatch(rb"[0-9]{1,15}", next(iter(lengths))):
        kept.append((b"Content-Length", lengths.pop()))
    elif status[2] != b"200":  # nobody reads it, and it might never end
        kept += [(b"Content-Length", b"0"), (b"Connection", b"close")]
    reason = _CONTROL.sub(b"", status[3] or b"")
    return b"\r\n".join([version + b" " + status[2] + b" " + reason, *(name + b": " + value for name, value in kept)])


def split(line: bytes) -> tuple[bytes, bytes, bytes]:
    return line.partition(b":")
