"""Schemas of request bodies with images, for the OpenAPI document only.

app.api.request_images reads the bodies. Options are documented once, as query parameters, because
Swagger UI sends every documented field of a form.
"""

from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate

from app.api.arguments import LegacyArguments
from app.fetch import MAX_URL

BASE64 = {"format": "byte", "description": "an image file as base64 or as a base64 data URI"}


def binary(media_type: str) -> dict[str, Any]:
    """Return the OpenAPI media type object of a binary body.

    OpenAPI 3.1 uses `contentMediaType`. Most client generators only support `format` of OpenAPI
    3.0, so the schema has both.
    """
    return {"schema": {"type": "string", "format": "binary", "contentMediaType": media_type}}


class Body(Schema):
    """Base class of bodies that may have other keys too, for example options."""

    class Meta:
        unknown = INCLUDE


class MultipartBody(Body):
    """A form with image files."""

    image = fields.List(
        fields.String(metadata={"format": "binary"}),
        required=True,
        validate=validate.Length(min=1),
        metadata={"description": "one or more image files"},
    )


class JsonBody(Body):
    """JSON with an image."""

    image = fields.String(required=True, metadata=BASE64)


class UrlBody(Body):
    """JSON with the URL of an image."""

    url = fields.String(
        required=True,
        metadata={
            "format": "uri",
            "maxLength": MAX_URL,
            "example": "https://images.example.com/photo.jpg",
            "description": "URL of an image file. The operator must have allowed the host: other "
            "hosts are rejected with 422. If the host does not send the file, the response is 502 "
            "or 504",
        },
    )
    file_name = fields.String(
        metadata={"description": "file name to store. Default: the last part of the URL's path"}
    )


class LegacyBody(LegacyArguments):
    """The JSON of the original client."""

    class Meta:
        unknown = INCLUDE

    image = fields.String(required=True, metadata=BASE64)
