"""What a request brings: pictures from a form, a raw body or JSON, and options from anywhere.

Pictures stay in memory; nothing of a request is ever written to a disk.
"""

import base64
import binascii
import io
from typing import IO, Any

from flask import Request
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from app.analyse import Link, Picture
from app.api.current import fetch, settings
from app.api.file_names import name_of_part, name_of_url, stored_name
from app.api.multipart import FORM, StrictFormDataParser, check_content_encoding
from app.errors import MalformedInput, NoImage, TooManyImages, UnusableUrl

FORM_OVERHEAD = 1_000_000  # for the other fields and the headers of parts


class InMemoryRequest(Request):
    form_data_parser_class = StrictFormDataParser

    @property  # type: ignore[misc]
    def max_content_length(self) -> int:  # type: ignore[override]
        """What a body may have, refused before it is read: 16 pictures in a form, otherwise one,
        which base64 makes a third larger. The exact limit of a picture is the engine's."""
        one = settings().max_image_bytes
        if self.mimetype == FORM:
            return settings().max_images * one + FORM_OVERHEAD
        return one * 4 // 3 + FORM_OVERHEAD

    def _get_file_stream(self, *_args: Any, **_kwargs: Any) -> IO[bytes]:
        """Where Werkzeug collects an uploaded file. Its own choice is a temporary file from
        500 kB on, and pictures of people must not reach the disk."""
        return io.BytesIO()


class OptionsParser(FlaskParser):
    """Adds the location `options`: the query, and the fields of a form or JSON body, which win.

    Unknown arguments are left to the schemas, which refuse them.
    """

    DEFAULT_UNKNOWN_BY_LOCATION = FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION | {"query": None}
    __location_map__ = FlaskParser.__location_map__ | {"options": "load_options"}

    def load_json(self, req: Request, schema: Any) -> dict[str, Any]:
        check_content_encoding(req)
        return read_json(req)

    def load_options(self, req: Request, schema: Any) -> dict[str, Any]:
        check_content_encoding(req)
        if req.is_json:
            fields, pictures = read_json(req), {"image", "url"}
        else:
            fields, pictures = req.form.to_dict() if req.mimetype == FORM else {}, {"image"}
        return req.args.to_dict() | {key: fields[key] for key in fields if key not in pictures}


def read_pictures(
    request: Request, *, max_images: int, file_name: str | None
) -> list[Picture | Link]:
    """The pictures of a multipart form, a raw image body or a JSON body, as they were sent; of
    those that JSON names by URL, nothing is fetched yet. `file_name` is for those that come without
    one.

    Raises NoImage, TooManyImages, MalformedInput, or UnsupportedMediaType where the body is of
    none of these kinds.
    """
    if request.mimetype == FORM:
        pictures: list[Picture | Link] = [*_from_form(request, file_name)]
    elif request.is_json:
        document = read_json(request)
        read = _link_from_json if "url" in document else picture_from_json
        pictures = [read(document, file_name)]
    elif request.mimetype.startswith("image/") or request.mimetype == "application/octet-stream":
        pictures = [Picture(request.get_data(cache=False), stored_name(file_name))]
    elif not request.mimetype and not request.content_length:
        raise NoImage("the request has no body: send a picture")
    else:
        raise UnsupportedMediaType(
            "send multipart/form-data with a file part named image, a raw image/… body, "
            "or application/json with a base64 image or a url"
        )
    if len(pictures) > max_images:
        raise TooManyImages(f"{len(pictures)} pictures in one request; {max_images} are allowed")
    return pictures


def picture_from_json(document: dict[str, Any], file_name: str | None) -> Picture:
    """The picture of `{"image": base64 or data URI}`.

    Raises NoImage or MalformedInput.
    """
    text = document.get("image")
    if not text:
        raise NoImage('the JSON body has no "image"')
    if not isinstance(text, str):
        raise MalformedInput("image must be a string of base64")
    if text.startswith("data:"):
        header, _, text = text.partition(",")
        if not header.endswith(";base64"):
            raise MalformedInput("a data URI must be data:<type>;base64,<data>")
    try:
        # Line breaks are part of the base64 of MIME; anything else foreign is an error.
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedInput("image is not valid base64") from error
    return Picture(data, stored_name(file_name))


def _link_from_json(document: dict[str, Any], file_name: str | None) -> Link:
    """Of `{"url": …}`, called as `file_name` says or else as the URL ends.

    Raises UnusableUrl, or MalformedInput where there is a picture too.
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
    return Link(url, stored_name(file_name or name), fetch)


def read_json(request: Request) -> dict[str, Any]:
    """Raises MalformedInput for a body that is no JSON object."""
    try:
        document = request.get_json()
    except (BadRequest, RecursionError) as error:
        raise MalformedInput("the body is not valid JSON") from error
    if not isinstance(document, dict):
        raise MalformedInput("the JSON body must be an object")
    return document


def _from_form(request: Request, file_name: str | None) -> list[Picture]:
    if others := sorted(request.files.keys() - {"image"}):
        raise MalformedInput(f"unknown file part {others[0]!r}: pictures are named image")
    parts = request.files.getlist("image")
    if not parts and "image" in request.form:
        raise NoImage("image must be a file part: with curl, -F image=@photo.jpg")
    if not parts:
        raise NoImage("the form has no file part named image")
    return [Picture(part.read(), stored_name(name_of_part(part) or file_name)) for part in parts]
