"""Request bodies of images for the OpenAPI document. request_images.py reads the bodies.

Options are documented once, as query parameters, because Swagger UI sends every field of a form
that it knows.
"""

from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate

from app.api.arguments import LegacyArguments
from app.fetch import MAX_URL

BASE64 = {"format": "byte", "description": "base64 of an image file, or a data URI with it"}


def binary(media_type: str) -> dict[str, Any]:
    """The OpenAPI schema of a body of bytes.

    `contentMediaType` is the keyword of OpenAPI 3.1. Most generators of clients only know `format`
    of OpenAPI 3.0, so the schema has both.
    """
    return {"schema": {"type": "string", "format": "binary", "contentMediaType": media_type}}


class Body(Schema):
    """Base class of bodies that may have more keys, such as the options."""

    class Meta:
        unknown = INCLUDE


class MultipartBody(Body):
    image = fields.List(
        fields.String(metadata={"format": "binary"}),
        required=True,
        validate=validate.Length(min=1),
        metadata={"description": "one or more image files"},
    )


class JsonBody(Body):
    image = fields.String(required=True, metadata=BASE64)


class UrlBody(Body):
    url = fields.String(
        required=True,
        metadata={
            "format": "uri",
            "maxLength": MAX_URL,
            "example": "https://images.example.com/photo.jpg",
            "description": "of an image file at a host that the operator allows. Other hosts are "
            "refused with 422. A host that does not send the file leads to 502 or 504",
        },
    )
    file_name = fields.String(
        metadata={"description": "name to store. Default: the last part of the URL's path"}
    )


class LegacyBody(LegacyArguments):
    class Meta:
        unknown = INCLUDE

    image = fields.String(required=True, metadata=BASE64)
