"""Reads the images of a request from a form, a raw body or JSON, and its options.

Images stay in memory; nothing of a request is ever written to a disk. Parsing makes copies, so
large bodies share a budget, and parts of a body that are no longer needed are freed at once.
"""

import base64
import binascii
import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import IO, Any, cast
from urllib.parse import unquote_to_bytes

from flask import Request
from marshmallow import ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.utils import cached_property

from app.api.current import deadline, fetch, large_bodies, settings
from app.api.file_names import name_of_part, name_of_url, stored_name
from app.api.multipart import FORM, StrictFormDataParser, check_content_encoding
from app.errors import MalformedInput, NoImage, TooManyImages, UnusableUrl
from app.vision.request import AnyImage, ImageData, ImageLink

LARGE_BYTES = 1_000_000
# A request has a few fields. A body of empty lists takes 28 times its size when it is parsed.
MOST_STRUCTURE = 10_000  # brackets, braces, commas and colons
LONGEST_FIELDS = 2_000_000  # characters of all names and texts beside the image


class InMemoryRequest(Request):
    form_data_parser_class = StrictFormDataParser

    @property  # type: ignore[misc]
    def max_content_length(self) -> int:  # type: ignore[override]
        """Bytes a body may have, checked before it is read. The engine checks the exact limit of an
        image."""
        if self.mimetype == FORM:
            return settings().max_form_bytes
        return settings().max_body_bytes

    @cached_property
    def document(self) -> dict[str, Any]:
        """The JSON object that the body holds. Raises MalformedInput."""
        if not self.is_json:
            raise UnsupportedMediaType("the body must be application/json")
        with _parsing(self):
            return _parsed(_whole_body(self))

    def _get_file_stream(self, *_args: Any, **_kwargs: Any) -> IO[bytes]:
        """Where Werkzeug collects an uploaded file. Its own choice is a temporary file from
        500 kB on, and images of people must not reach the disk."""
        return io.BytesIO()


class OptionsParser(FlaskParser):
    """Adds the location `options`: the query, and the fields of a form or JSON body, which win.

    An argument that the query or the form gives twice is refused: otherwise one of its values would
    be ignored silently. Unknown arguments are left to the schemas, which refuse them.
    """

    DEFAULT_UNKNOWN_BY_LOCATION = FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION | {"query": None}
    __location_map__ = FlaskParser.__location_map__ | {"options": "load_options"}

    def load_querystring(self, req: Request, schema: Any) -> dict[str, str]:
        return _single_values(_query(req))

    def load_json(self, req: Request, schema: Any) -> dict[str, Any]:
        check_content_encoding(req)
        return read_json(req)

    def load_options(self, req: Request, schema: Any) -> dict[str, Any]:
        check_content_encoding(req)
        if req.is_json:
            fields = {k: v for k, v in read_json(req).items() if k not in ("image", "url")}
        else:
            form = req.form if req.mimetype == FORM else MultiDict[str, str]()
            fields = _single_values(form, leave_out="image")
        return _single_values(_query(req)) | fields


def _query(request: Request) -> MultiDict[str, str]:
    """Raises MalformedInput for a query that is not UTF-8: Werkzeug would keep its escapes."""
    try:
        unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError as error:
        raise MalformedInput("the query is not UTF-8: send its values as UTF-8") from error
    return request.args


def _single_values(values: MultiDict[str, str], *, leave_out: str | None = None) -> dict[str, str]:
    """The value of each name except `leave_out`. Raises ValidationError for a name with several
    values."""
    found = {name: texts for name, texts in values.lists() if name != leave_out}
    if repeated := {name: len(texts) for name, texts in found.items() if len(texts) > 1}:
        raise ValidationError(
            {name: [f"is given {count} times: give it once"] for name, count in repeated.items()}
        )
    return {name: text for name, (text,) in found.items()}


def read_images(request: Request, *, max_images: int, file_name: str | None) -> list[AnyImage]:
    """The images of a multipart form, a raw image body or a JSON body, as they were sent. An image
    that JSON names by URL is not fetched yet. `file_name` is for images that come without a name.

    Raises NoImage, TooManyImages, MalformedInput, and UnsupportedMediaType for a body of another
    type.
    """
    if request.mimetype == FORM:
        images: list[AnyImage] = [*_from_form(request, file_name)]
    elif request.is_json:
        if "url" in read_json(request):
            images = [_link_from_json(read_json(request), file_name)]
        else:
            images = [image_from_json(request, file_name)]
    elif request.mimetype.startswith("image/") or request.mimetype == "application/octet-stream":
        with _parsing(request):
            images = [ImageData(_whole_body(request), stored_name(file_name))]
    elif not request.mimetype and not request.content_length:
        raise NoImage("the request has no body: send an image")
    else:
        raise UnsupportedMediaType(
            "send multipart/form-data with a file part named image, a raw image/… body, "
            "or application/json with a base64 image or a url"
        )
    if len(images) > max_images:
        raise TooManyImages(f"{len(images)} images in one request; {max_images} are allowed")
    return images


def image_from_json(request: Request, file_name: str | None) -> ImageData:
    """The image of `{"image": base64 or data URI}`. Removes its text from the document.

    Raises NoImage or MalformedInput.
    """
    text = read_json(request).pop("image", None)
    if not text:
        raise NoImage('the JSON body has no "image"')
    if not isinstance(text, str):
        raise MalformedInput("image must be a string of base64")
    header, comma, _ = text[:200].partition(",")
    is_data_uri = text[:5].lower() == "data:"
    if is_data_uri and not (comma and header.lower().endswith(";base64")):
        raise MalformedInput("a data URI must be data:<type>;base64,<data>")
    with _parsing(request):
        # Line breaks are part of the base64 of MIME; anything else foreign is an error.
        encoded = text.encode("ascii", "replace").translate(None, b" \t\r\n\f\v")
        start = encoded.index(b",") + 1 if is_data_uri else 0
        try:
            data = base64.b64decode(encoded[start:], validate=True)
        except (binascii.Error, ValueError) as error:
            raise MalformedInput("image is not valid base64") from error
    return ImageData(data, stored_name(file_name))


def _link_from_json(document: dict[str, Any], file_name: str | None) -> ImageLink:
    """The link of `{"url": …}`, with the name `file_name` or else the last part of the URL's path.

    Raises UnusableUrl, and MalformedInput if there is an image too.
    """
    if "image" in document:
        raise MalformedInput("the JSON body has both an image and a url: send one")
    url = document["url"]
    if not isinstance(url, str):
        raise UnusableUrl("url must be a string")
    try:
        name = name_of_url(url)
    except ValueError as error:
        raise UnusableUrl("url is no URL") from error
    return ImageLink(url, stored_name(file_name or name), fetch)


def read_json(request: Request) -> dict[str, Any]:
    """The JSON object of the body, parsed once.

    Raises MalformedInput, and marshmallow's ValidationError for a name that comes twice.
    """
    return cast(InMemoryRequest, request).document


def _parsed(body: bytes) -> dict[str, Any]:
    if sum(map(body.count, (b"[", b"{", b",", b":"))) > MOST_STRUCTURE:
        raise MalformedInput("the JSON body has more lists, objects and fields than any request")
    try:
        document = json.loads(body, object_pairs_hook=_object_of)
    except (ValueError, RecursionError) as error:
        raise MalformedInput("the body is not valid JSON") from error
    if not isinstance(document, dict):
        raise MalformedInput("the JSON body must be an object")
    texts = [
        value for name, value in document.items() if isinstance(value, str) and name != "image"
    ]
    if sum(map(len, [*document, *texts])) > LONGEST_FIELDS:
        raise MalformedInput(
            f"the JSON body has more than {LONGEST_FIELDS:,} characters beside the image"
        )
    image = document.get("image")
    if isinstance(image, str) and not image.isascii():  # such text may take four times the memory
        raise MalformedInput("image is not valid base64")
    return document


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object with these members. Raises ValidationError for a name that comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValidationError(
            {name: [f"is given {n} times: give it once"] for name, n in counts.items() if n > 1}
        )
    return found


def _whole_body(request: Request) -> bytes:
    return b"".join(iter(lambda: request.stream.read(LARGE_BYTES), b""))


@contextmanager
def _parsing(request: Request) -> Iterator[None]:
    """Wait until a large body may be parsed. Raises DeadlineExceeded."""
    size = request.content_length or request.max_content_length or 0
    large = size > LARGE_BYTES
    with large_bodies().reserve(size, deadline=deadline()) if large else nullcontext():
        yield


def _from_form(request: Request, file_name: str | None) -> list[ImageData]:
    if others := sorted(request.files.keys() - {"image"}):
        raise MalformedInput(f"unknown file part {others[0]!r}: name each image part image")
    parts = request.files.getlist("image")
    if any(request.form.getlist("image")) or (not parts and "image" in request.form):
        raise NoImage("image must be a file part: with curl, -F image=@photo.jpg")
    if not parts:
        raise NoImage("the form has no file part named image")
    images = []
    for part in parts:
        name = name_of_part(part)
        data = cast(io.BytesIO, part.stream).getvalue()  # does not copy
        if data or name:  # browsers send an empty part if no file was chosen
            images.append(ImageData(data, stored_name(name or file_name)))
        part.close()
    if not images:
        raise NoImage("the form has no file: its parts named image are empty and have no name")
    return images
