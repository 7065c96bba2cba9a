"""Says what is wrong with request bodies that cannot be parsed.

Werkzeug's own parser treats a malformed form as an empty one, so the error would be "no file part".
"""

import re
from typing import IO, Any, NoReturn

from flask import Request, request
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.formparser import FormDataParser, MultiPartParser
from werkzeug.sansio.multipart import File

from app.errors import MalformedInput

FORM = "multipart/form-data"
_HEAD_BYTES = 1_024
# The values of these headers that leave the content of a part as it is.
_PLAIN_ENCODINGS = {
    "Content-Transfer-Encoding": ("", "7bit", "8bit", "binary"),
    "Content-Encoding": ("", "identity"),
}


def check_content_encoding(request: Request) -> None:
    """Raise UnsupportedMediaType for a compressed body: the service does not decompress."""
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
        # Werkzeug ignores a boundary without quotes that is not ASCII.
        if not boundary.isascii() or (not boundary and not (request.content_type or "").isascii()):
            raise MalformedInput(
                "the boundary in the Content-Type is not ASCII: let the HTTP library set this "
                "header, do not set it by hand"
            )
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
        if not all([*form, *files]):
            raise MalformedInput("a part of the form has no name: images are named image")
        return stream, form, files

    def _parse_multipart(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str],
    ) -> Any:
        parser = _StrictMultiPartParser(
            stream_factory=self.stream_factory,
            max_form_memory_size=self.max_form_memory_size,
            max_form_parts=self.max_form_parts,
        )
        form, files = parser.parse(stream, options["boundary"].encode("ascii"), content_length)
        return stream, form, files


class _StrictMultiPartParser(MultiPartParser):
    """Werkzeug's parser, which refuses parts that are encoded, and fields that are not in the
    charset that their part names (UTF-8 if it names none). Werkzeug replaces such bytes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=list, **options)  # type: ignore[arg-type]
        self._charsets: list[str] = []

    def start_file_streaming(self, event: File, total_content_length: int | None) -> IO[bytes]:
        _check_encoding(event.headers)
        return super().start_file_streaming(event, total_content_length)

    def get_part_charset(self, headers: Headers) -> str:
        _check_encoding(headers)
        self._charsets.append(super().get_part_charset(headers))
        return "iso-8859-1"  # which keeps every byte

    def parse(
        self, stream: IO[bytes], boundary: bytes, content_length: int | None
    ) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
        fields: Any
        fields, files = super().parse(stream, boundary, content_length)
        try:
            texts = [
                (name, text.encode("iso-8859-1").decode(charset))
                for (name, text), charset in zip(fields, self._charsets, strict=True)
            ]
        except UnicodeDecodeError as error:
            raise MalformedInput(
                "a field of the form is not UTF-8: send its fields as UTF-8"
            ) from error
        return MultiDict(texts), MultiDict(files)


def _check_encoding(headers: Headers) -> None:
    """Raise UnsupportedMediaType for a part whose content would have to be decoded."""
    for header, plain in _PLAIN_ENCODINGS.items():
        encoding = headers.get(header, "").strip().lower()
        if encoding not in plain:
            raise UnsupportedMediaType(
                f"a part of the form has the {header} {encoding[:20]!r}: send it as it is, "
                "without this header"
            )


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
    # A preamble before the first boundary is allowed, but no client sends one. The line of the
    # boundary may be cut off.
    line = rb"[\r\n]*--" + re.escape(boundary.encode()) + rb"-{0,2}[ \t]*(?:[\r\n]|\Z)"
    if not re.match(line, head):
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
