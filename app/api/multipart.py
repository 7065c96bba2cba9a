"""Request bodies that cannot be parsed: says what is wrong with them.

Werkzeug takes a broken form for an empty one, so the client would hear "no file part".
"""

from typing import IO, Any, NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.formparser import FormDataParser

from app.errors import MalformedInput

FORM = "multipart/form-data"
_HEAD_BYTES = 1_024


def check_content_encoding(request: Request) -> None:
    """Raise UnsupportedMediaType for a compressed body: nothing here unpacks one."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise UnsupportedMediaType(
            f"the body has the Content-Encoding {coding[:20]!r}: send it uncompressed, without "
            "this header"
        )


class StrictFormDataParser(FormDataParser):
    """Werkzeug's parser, which raises MalformedInput for a multipart body that is not valid."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> Any:
        if mimetype != FORM:
            return super().parse(stream, mimetype, content_length, options)
        boundary = (options or {}).get("boundary", "")
        if not boundary:
            raise MalformedInput(
                "the Content-Type multipart/form-data has no boundary: let the HTTP library set "
                "this header, do not set it by hand"
            )
        observed = _Observed(stream)
        self.silent = False
        try:
            _, form, files = super().parse(observed, mimetype, content_length, options)  # type: ignore[arg-type]
        except (ValueError, RequestEntityTooLarge) as error:
            _refuse(error, boundary, observed.head)
        if None in files:
            raise MalformedInput("a file part of the form has no name: images are named image")
        return stream, form, files


class _Observed:
    """A stream that remembers its first bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.head = b""

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if len(self.head) < _HEAD_BYTES:
            self.head += data[: _HEAD_BYTES - len(self.head)]
        return data


def _refuse(error: Exception, boundary: str, head: bytes) -> NoReturn:
    # No client writes anything before the first boundary, although it would be allowed.
    if not head.lstrip(b"\r\n").startswith(b"--" + boundary.encode("utf-8", "replace")):
        raise MalformedInput(
            "the body does not begin with the boundary that Content-Type names: let the HTTP "
            "library set this header, do not set it by hand"
        ) from error
    if isinstance(error, UnicodeDecodeError):
        raise MalformedInput(
            "the headers of a part are not UTF-8: send names and file names as UTF-8"
        ) from error
    if isinstance(error, RequestEntityTooLarge):
        raise error
    if "Content-Disposition" in str(error):
        raise MalformedInput("a part of the form has no Content-Disposition header") from error
    raise MalformedInput(
        "the form ends before its closing boundary: the upload was cut short"
    ) from error
