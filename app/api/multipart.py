"""A strict multipart parser with specific error messages.

Werkzeug's own parser treats a malformed form as empty, so the error would be "no file part".
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
# Header values of a part without a content encoding.
_PLAIN_ENCODINGS = {
    "Content-Transfer-Encoding": ("", "7bit", "8bit", "binary"),
    "Content-Encoding": ("", "identity"),
}


def check_content_encoding(request: Request) -> None:
    """Raise UnsupportedMediaType for a compressed body, because the service does not decompress."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise UnsupportedMediaType(
            f"the body has the Content-Encoding {coding[:20]!r}: send the body uncompressed and "
            "without this header"
        )


class StrictFormDataParser(FormDataParser):
    """Werkzeug's parser, except that it raises MalformedInput for an invalid multipart body."""

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
        # Werkzeug ignores an unquoted boundary that is not ASCII.
        if not boundary.isascii() or (not boundary and not (request.content_type or "").isascii()):
            raise MalformedInput(
                "the boundary in the Content-Type is not ASCII: do not set this header yourself, "
                "the HTTP library sets it"
            )
        if not boundary:
            raise MalformedInput(
                "the Content-Type multipart/form-data has no boundary: do not set this header "
                "yourself, the HTTP library sets it"
            )
        recorder = _HeadRecorder(stream)
        self.silent = False
        try:
            _, form, files = super().parse(recorder, mimetype, content_length, options)  # type: ignore[arg-type]
        except (ValueError, RequestEntityTooLarge) as error:
            _raise_specific(error, boundary, recorder.head)
        if not all([*form, *files]):
            raise MalformedInput('a part of the form has no name: name the image files "image"')
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
    """Werkzeug's parser, except that it rejects encoded parts and undecodable fields.

    A field is undecodable if its bytes are invalid in the charset of the part, by default UTF-8.
    Werkzeug's own parser replaces such bytes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=list, **options)  # type: ignore[arg-type]
        self._charsets: list[str] = []

    def start_file_streaming(self, event: File, total_content_length: int | None) -> IO[bytes]:
        _check_encoding(event.headers)
        return super().start_file_streaming(event, total_content_length)

    def get_part_charset(self, headers: Headers) -> str:
        _check_encoding(headers)
        self._charsets.append(super().get_part_charset(headers))
        # ISO 8859-1 maps each byte to a character, so `parse` can get the bytes back.
        return "iso-8859-1"

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
                "a field of the form is not UTF-8: send all fields as UTF-8"
            ) from error
        return MultiDict(texts), MultiDict(files)


def _check_encoding(headers: Headers) -> None:
    """Raise UnsupportedMediaType for a part with encoded content."""
    for header, plain in _PLAIN_ENCODINGS.items():
        encoding = headers.get(header, "").strip().lower()
        if encoding not in plain:
            raise UnsupportedMediaType(
                f"a part of the form has the {header} {encoding[:20]!r}: send the part unencoded "
                "and without this header"
            )


class _HeadRecorder:
    """A stream that keeps a copy of the first bytes in `head`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.head = b""

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if len(self.head) < _HEAD_BYTES:
            self.head += data[: _HEAD_BYTES - len(self.head)]
        return data


def _raise_specific(error: Exception, boundary: str, head: bytes) -> NoReturn:
    """Raise the specific error behind a parser error. `head` is the beginning of the body."""
    # A preamble before the first boundary is allowed, but no client sends one. `head` may end
    # within the line of the boundary.
    line = rb"[\r\n]*--" + re.escape(boundary.encode()) + rb"-{0,2}[ \t]*(?:[\r\n]|\Z)"
    if not re.match(line, head):
        raise MalformedInput(
            "the body does not begin with the boundary of the Content-Type: do not set this header "
            "yourself, the HTTP library sets it"
        ) from error
    if isinstance(error, UnicodeDecodeError):
        raise MalformedInput(
            "the headers of a part are not UTF-8: send field names and file names as UTF-8"
        ) from error
    if isinstance(error, RequestEntityTooLarge):
        raise error
    if "Content-Disposition" in str(error):
        raise MalformedInput("a part of the form has no Content-Disposition header") from error
    raise MalformedInput(
        "the form ends before the closing boundary: the upload is incomplete, send it again"
    ) from error
