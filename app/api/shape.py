"""JSON objects that the service sends, each declared once.

A `Shape` is a marshmallow schema that also says where its values come from. Its fields document
and validate the object; `Shape.document` makes it, with less work per field than marshmallow's own
serialisation. A field reads the attribute of its own name unless `member` gives it a reader.
"""

import functools
from collections.abc import Callable
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
        self.names: list[str] = []
        # Each reader has the number of the object that it reads: the item is 0, the nested objects
        # follow in their order.
        self._nested: list[tuple[int, Reader]] = []
        self._cells: list[tuple[int, Reader]] = []
        self._mappings: list[tuple[int, Reader]] = []
        self._add(shape, 0)
        self.names += keys * len(self._mappings)

    def row(self, item: Any) -> list[Any]:
        """The cells of an item, in the order of `names`."""
        objects = [item]
        for outer, read in self._nested:
            objects.append(read(objects[outer]))
        cells = [read(objects[number]) for number, read in self._cells]
        for number, read in self._mappings:
            cells.extend(map(read(objects[number]).get, self._keys))
        return cells

    def _add(self, shape: type[Shape], number: int) -> None:
        for name, field in shape._declared_fields.items():
            reader = number, _read(name, field)
            if field.metadata.get(_JSON_ONLY):
                continue
            if inner := _shape_in(field):
                self._nested.append(reader)
                self._add(inner, len(self._nested))
            elif isinstance(field, fields.Dict):
                self._mappings.append(reader)
            else:
                self._cells.append(reader)
                self.names.append(name)


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
