"""Reads the images and the options of a request from a form, a raw body or JSON.

Images stay in memory: no part of a request is written to disk. Parsing makes copies, so large
bodies share a budget, and the parser frees parts of a body as soon as possible.
"""

import base64
import binascii
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import IO, Any, cast
from urllib.parse import unquote_to_bytes

from flask import Request
from marshmallow import ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.utils import cached_property

from app.api.current import deadline, fetch, large_body_budget, settings
from app.api.file_names import name_of_part, name_of_url, stored_name
from app.api.multipart import FORM, StrictFormDataParser, check_content_encoding
from app.errors import MalformedInput, NoImage, TooManyImages, UnusableUrl
from app.vision.request import AnyImage, ImageData, ImageLink

LARGE_BYTES = 1_000_000
# A parsed body of empty lists takes 28 times its size in memory, so the number of brackets, braces,
# commas and colons is limited.
MAX_STRUCTURE_CHARACTERS = 10_000
MAX_FIELD_CHARACTERS = 2_000_000  # all names and strings together, without the image


class InMemoryRequest(Request):
    """A request that keeps its body in memory, with a size limit for each content type."""

    form_data_parser_class = StrictFormDataParser

    @property  # type: ignore[misc]
    def max_content_length(self) -> int:  # type: ignore[override]
        """Maximum body size in bytes. Werkzeug checks it before it reads the body.

        The engine checks the exact limit of each image.
        """
        if self.mimetype == FORM:
            return settings().max_form_bytes
        return settings().max_body_bytes

    @cached_property
    def document(self) -> dict[str, Any]:
        """The JSON object in the body.

        Raises UnsupportedMediaType, MalformedInput, and ValidationError for a repeated name.
        """
        if not self.is_json:
            raise UnsupportedMediaType("the body must be application/json")
        with _parsing(self):
            return _parsed(_whole_body(self))

    def _get_file_stream(self, *_args: Any, **_kwargs: Any) -> IO[bytes]:
        """Return the stream for an uploaded file.

        Werkzeug's own method writes files from 500 kB on to disk. Images of people must not be
        written to disk.
        """
        return io.BytesIO()


class OptionsParser(FlaskParser):
    """Adds the location `options`: the query and the fields of the body. Fields override the query.

    An argument that is repeated in the query or in the form is rejected, because one of the values
    would be ignored silently. The schemas reject unknown arguments.
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
            fields = _single_values(form, exclude="image")
        return _single_values(_query(req)) | fields


def _query(request: Request) -> MultiDict[str, str]:
    """Return the query parameters.

    Raises MalformedInput for a query that is not UTF-8. Werkzeug would keep the escape sequences.
    """
    try:
        unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError as error:
        raise MalformedInput("the query is not UTF-8: send all values as UTF-8") from error
    return request.args


def _single_values(values: MultiDict[str, str], *, exclude: str | None = None) -> dict[str, str]:
    """Return the value of each name except `exclude`.

    Raises ValidationError for a name with several values.
    """
    texts_by_name = {name: texts for name, texts in values.lists() if name != exclude}
    _check_repetitions({name: len(texts) for name, texts in texts_by_name.items()})
    return {name: text for name, (text,) in texts_by_name.items()}


def _check_repetitions(counts: Mapping[str, int]) -> None:
    """Raise ValidationError for the names that were sent more than once."""
    messages = {
        name: [f"was sent {count} times: send it once"]
        for name, count in counts.items()
        if count > 1
    }
    if messages:
        raise ValidationError(messages)


def read_images(request: Request, *, max_images: int, file_name: str | None) -> list[AnyImage]:
    """Return the images of a multipart form, an image body or a JSON body. Decodes no pixels.

    An image that JSON refers to by URL is not fetched yet. `file_name` is the name of images that
    are sent without one. Raises NoImage, TooManyImages, MalformedInput, UnusableUrl, and
    UnsupportedMediaType for a body of a different type.
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
            "the Content-Type is not supported: send multipart/form-data with a file part named "
            "image, a raw image/… body, or application/json with a base64 image or a url"
        )
    if len(images) > max_images:
        raise TooManyImages(
            f"a request must have at most {max_images} images, got {len(images)}: send several "
            "requests"
        )
    return images


def image_from_json(request: Request, file_name: str | None) -> ImageData:
    """Return the decoded image of `{"image": base64 or data URI}`.

    Removes the encoded text from the document to free memory. Raises NoImage or MalformedInput.
    """
    text = read_json(request).pop("image", None)
    if not text:
        raise NoImage('the JSON body has no "image": send the image as base64')
    if not isinstance(text, str):
        raise MalformedInput("image must be a base64 string")
    header, comma, _ = text[:200].partition(",")
    is_data_uri = text[:5].lower() == "data:"
    if is_data_uri and not (comma and header.lower().endswith(";base64")):
        raise MalformedInput("a data URI must be data:<type>;base64,<data>")
    with _parsing(request):
        # The base64 encoding of MIME has line breaks. Any other character outside the alphabet is
        # an error.
        encoded = text.encode("ascii", "replace").translate(None, b" \t\r\n\f\v")
        start = encoded.index(b",") + 1 if is_data_uri else 0
        try:
            data = base64.b64decode(encoded[start:], validate=True)
        except (binascii.Error, ValueError) as error:
            raise MalformedInput("image is not valid base64") from error
    return ImageData(data, stored_name(file_name))


def _link_from_json(document: dict[str, Any], file_name: str | None) -> ImageLink:
    """Return the link of `{"url": …}`.

    Without `file_name`, the name is the last part of the path of the URL. Raises UnusableUrl, and
    MalformedInput for a document that also has an image.
    """
    if "image" in document:
        raise MalformedInput("the JSON body has both an image and a url: send one of them")
    url = document["url"]
    if not isinstance(url, str):
        raise UnusableUrl("url must be a string")
    try:
        name = name_of_url(url)
    except ValueError as error:
        raise UnusableUrl("url is not a valid URL") from error
    return ImageLink(url, stored_name(file_name or name), fetch)


def read_json(request: Request) -> dict[str, Any]:
    """Return the JSON object of the body. It is parsed only once.

    Raises UnsupportedMediaType, MalformedInput, and ValidationError for a repeated name.
    """
    return cast(InMemoryRequest, request).document


def _parsed(body: bytes) -> dict[str, Any]:
    if sum(map(body.count, (b"[", b"{", b",", b":"))) > MAX_STRUCTURE_CHARACTERS:
        raise MalformedInput(
            f"the JSON body must have at most {MAX_STRUCTURE_CHARACTERS:,} brackets, braces, "
            "commas and colons"
        )
    try:
        document = json.loads(body, object_pairs_hook=_object_without_repetitions)
    except (ValueError, RecursionError) as error:
        raise MalformedInput("the body is not valid JSON") from error
    if not isinstance(document, dict):
        raise MalformedInput("the JSON body must be an object")
    texts = [
        value for name, value in document.items() if isinstance(value, str) and name != "image"
    ]
    if sum(map(len, [*document, *texts])) > MAX_FIELD_CHARACTERS:
        raise MalformedInput(
            f"the JSON body must have at most {MAX_FIELD_CHARACTERS:,} characters besides the image"
        )
    image = document.get("image")
    # Python stores a string with other characters in up to four bytes per character.
    if isinstance(image, str) and not image.isascii():
        raise MalformedInput("image is not valid base64")
    return document


def _object_without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object with these members. Raises ValidationError for a repeated name."""
    document = dict(pairs)
    if len(document) < len(pairs):
        _check_repetitions(Counter(name for name, _ in pairs))
    return document


def _whole_body(request: Request) -> bytes:
    return b"".join(iter(lambda: request.stream.read(LARGE_BYTES), b""))


@contextmanager
def _parsing(request: Request) -> Iterator[None]:
    """Wait until a large body may be parsed. Raises DeadlineExceeded."""
    size = request.content_length or request.max_content_length or 0
    large = size > LARGE_BYTES
    with large_body_budget().reserve(size, deadline=deadline()) if large else nullcontext():
        yield


def _from_form(request: Request, file_name: str | None) -> list[ImageData]:
    """Return the images of the file parts of a form. Raises NoImage or MalformedInput."""
    if unknown_parts := sorted(request.files.keys() - {"image"}):
        raise MalformedInput(f"unknown file part {unknown_parts[0]!r}: name each file part image")
    parts = request.files.getlist("image")
    if any(request.form.getlist("image")) or (not parts and "image" in request.form):
        raise NoImage("image must be a file part: with curl, use -F image=@photo.jpg")
    if not parts:
        raise NoImage("the form has no file part named image: send one for each image")
    images = []
    for part in parts:
        name = name_of_part(part)
        data = cast(io.BytesIO, part.stream).getvalue()  # BytesIO returns the data without a copy
        if data or name:  # browsers send an empty part if the user chose no file
            images.append(ImageData(data, stored_name(name or file_name)))
        part.close()
    if not images:
        raise NoImage("the form has no image: all file parts are empty and have no file name")
    return images
