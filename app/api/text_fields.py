"""Marshmallow fields for texts in requests: printable names, file names and times."""

from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.api.file_names import replace_unsafe
from app.store.records import LONGEST_FILE_NAME, normalized_name

# Stored names contain no control characters, and PostgreSQL rejects NUL. In Python, `$` also
# matches before a final line break ("a\\n"), so `(?!\\n)` rejects it. OpenAPI does not need this.
PRINTABLE = validate.Regexp(r"^[^\x00-\x1f\x7f]*$(?!\n)", error="must be printable text")


class UtcTime(fields.AwareDateTime):
    """A time with a time zone, converted to UTC.

    Raises a validation error if the UTC time is outside the range of `datetime`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", **kwargs)

    def _deserialize(self, *args: Any, **kwargs: Any) -> datetime:
        try:
            return super()._deserialize(*args, **kwargs).astimezone(UTC)
        except OverflowError as error:
            raise self.make_error("invalid", input=args[0], obj_type=self.OBJ_TYPE) from error


class FileName(fields.String):
    """A filter for stored file names, in any Unicode normalization form.

    Replaces characters that are never stored by U+FFFD, as in stored names. Rejects names of more
    than 255 characters in form C.
    """

    def _deserialize(self, *args: Any, **kwargs: Any) -> str:
        # Validators run after this method, on the replaced characters, so PRINTABLE runs here.
        name = replace_unsafe(PRINTABLE(super()._deserialize(*args, **kwargs)))
        if len(normalized_name(name)) > LONGEST_FILE_NAME:
            raise ValidationError(
                f"must have at most {LONGEST_FILE_NAME} characters: longer names are stored "
                "truncated"
            )
        return name
