"""JSON objects that the service sends, each declared once.

A `Shape` is a marshmallow schema that also says where its values come from. Its fields document
and validate the object; `Shape.document` makes it, with less work per field than marshmallow's own
serialisation. A field reads the attribute of its own name unless `member` gives it a reader.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeVar, cast

from marshmallow import Schema, fields, missing

Reader = Callable[[Any], Any]
AnyField = TypeVar("AnyField", bound=fields.Field[Any])

# Keys of a field's metadata. The OpenAPI document leaves out keys that OpenAPI does not define.
_READ = "read"
_JSON_ONLY = "json_only"


def member(field: AnyField, read: Reader, *, json_only: bool = False) -> AnyField:
    """Let `field` take its value from `read(item)`. The value `missing` leaves the key out. A
    `json_only` field has no column in CSV."""
    field.metadata = {**field.metadata, _READ: read, _JSON_ONLY: json_only}
    return field


class Spread(fields.Dict):
    """A mapping whose items become keys of the object itself, in the place of this field.

    The object has no key of the field's own name, so list the name in `Meta.exclude`.
    """


class Shape(Schema):
    """Base class of the declared objects."""

    @classmethod
    def document(cls, item: Any) -> dict[str, Any]:
        """Return the JSON object of `item`. Its keys are in the order of the fields."""
        document: dict[str, Any] = {}
        for name, read in _readers(cls):
            value = read(item)
            if name is None:
                document.update(value)
            elif value is not missing:
                document[name] = value
        return document

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Return the JSON object of what a view returned. flask-smorest calls this."""
        return [self.document(each) for each in obj] if many else self.document(obj)


class Table:
    """The objects of a shape as rows.

    Members of nested objects become columns of their own. A mapping becomes one column per key of
    `keys`, after all other columns; a cell is None where the mapping lacks the key.
    """

    def __init__(self, shape: type[Shape], keys: list[str]) -> None:
        self._keys = keys
        self._plan = _plan(shape)
        self.names = [*_names(self._plan), *keys]

    def row(self, item: Any) -> list[Any]:
        """The cells of an item, in the order of `names`."""
        cells: list[Any] = []
        last: list[Any] = []
        self._fill(self._plan, item, cells, last)
        return cells + last

    def _fill(self, plan: list["_Column"], item: Any, cells: list[Any], last: list[Any]) -> None:
        for column in plan:
            value = column.read(item)
            if column.inner is not None:
                self._fill(column.inner, value, cells, last)
            elif column.is_mapping:
                last.extend(map(value.get, self._keys))
            else:
                cells.append(value)


@dataclass(frozen=True, slots=True)
class _Column:
    """A field in a table. `inner` are the columns of a nested object."""

    name: str
    read: Reader
    inner: "list[_Column] | None"
    is_mapping: bool


def _plan(shape: type[Shape]) -> list[_Column]:
    return [
        _Column(
            name,
            _read(name, field),
            _plan(inner) if (inner := _shape_in(field)) else None,
            isinstance(field, fields.Dict),
        )
        for name, field in shape._declared_fields.items()
        if not field.metadata.get(_JSON_ONLY)
    ]


def _names(plan: list[_Column]) -> Iterator[str]:
    for column in plan:
        if column.inner is not None:
            yield from _names(column.inner)
        elif not column.is_mapping:
            yield column.name


def _read(name: str, field: fields.Field[Any]) -> Reader:
    return cast(Reader, field.metadata.get(_READ) or attrgetter(name))


def _shape_in(field: fields.Field[Any] | None) -> type[Shape] | None:
    """The shape of the objects in a field; None if it holds plain JSON values."""
    inner = field.nested if isinstance(field, fields.Nested) else None
    return inner if isinstance(inner, type) and issubclass(inner, Shape) else None


@functools.cache
def _readers(shape: type[Shape]) -> tuple[tuple[str | None, Reader], ...]:
    """The key and the reader of each field. A Spread has no key."""
    return tuple(
        (None if isinstance(field, Spread) else name, _converted(field, _read(name, field)))
        for name, field in shape._declared_fields.items()
    )


def _converted(field: fields.Field[Any], read: Reader) -> Reader:
    """`read`, with the value as JSON types: shapes inside the field become objects."""
    convert: Reader
    if shape := _shape_in(field):
        convert = shape.document
    elif isinstance(field, fields.List) and (shape := _shape_in(field.inner)):
        convert = functools.partial(_documents, shape)
    elif isinstance(field, fields.Dict) and (shape := _shape_in(field.value_field)):
        convert = functools.partial(_documents_by_key, shape)
    elif isinstance(field, fields.Dict) and not isinstance(field, Spread):
        convert = dict
    else:
        return read
    return lambda item: value if (value := read(item)) is missing else convert(value)


def _documents(shape: type[Shape], items: Any) -> list[dict[str, Any]]:
    return [shape.document(each) for each in items]


def _documents_by_key(shape: type[Shape], items: Any) -> dict[str, dict[str, Any]]:
    return {key: shape.document(each) for key, each in items.items()}
