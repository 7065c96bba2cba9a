"""Declarations of the JSON objects in responses.

A `Shape` is a marshmallow schema whose fields can also read their values from an item. Each
shape is declared once: it documents and validates the object, and `Shape.document` serialises it,
with less work per field than marshmallow. A field reads the attribute with the name of the field,
unless `member` gives it another reader.
"""

import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, cast

from marshmallow import Schema, fields, missing

Reader = Callable[[Any], Any]
AnyField = TypeVar("AnyField", bound=fields.Field[Any])

# Keys of a field's metadata. The OpenAPI document excludes keys that OpenAPI does not define.
_READ = "read"
_JSON_ONLY = "json_only"


def member(field: AnyField, read: Reader, *, json_only: bool = False) -> AnyField:
    """Return `field` after making it read its value with `read(item)`.

    If `read` returns `missing`, the object does not have the key. A `json_only` field has no column
    in CSV.
    """
    field.metadata = {**field.metadata, _READ: read, _JSON_ONLY: json_only}
    return field


class Spread(fields.Dict):
    """A mapping whose items become keys of the object itself, at the position of this field.

    The object has no key with the name of the field, so list the name in `Meta.exclude`.
    """


class Shape(Schema):
    """Base class of the declarations."""

    @classmethod
    def document(cls, item: Any) -> dict[str, Any]:
        """Return the JSON object of `item`, with the keys in the order of the fields."""
        document: dict[str, Any] = {}
        for name, read in _readers(cls):
            value = read(item)
            if name is None:
                document.update(value)
            elif value is not missing:
                document[name] = value
        return document

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Return the JSON object of the return value of a view. flask-smorest calls this method."""
        return [self.document(each) for each in obj] if many else self.document(obj)


class Table:
    """Turns items of a shape into rows.

    Each field of a nested object becomes a column. A mapping becomes one column per key of `keys`,
    after all other columns; a cell is None if the mapping does not have the key.
    """

    def __init__(self, shape: type[Shape], keys: list[str]) -> None:
        self._keys = keys
        self.names: list[str] = []
        # Each reader has the index of the object that it reads: the item is 0, the nested objects
        # follow in the order of the fields.
        self._nested: list[tuple[int, Reader]] = []
        self._cells: list[tuple[int, Reader]] = []
        self._mappings: list[tuple[int, Reader]] = []
        self._add(shape, 0)
        self.names += keys * len(self._mappings)

    def row(self, item: Any) -> list[Any]:
        """Return the cells of an item, in the order of `names`."""
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
    """Return the shape of the objects in a field; None if the field has plain JSON values."""
    inner = field.nested if isinstance(field, fields.Nested) else None
    return inner if isinstance(inner, type) and issubclass(inner, Shape) else None


@functools.cache
def _readers(shape: type[Shape]) -> tuple[tuple[str | None, Reader], ...]:
    """Return the key and the reader of each field. A Spread has the key None."""
    return tuple(
        (None if isinstance(field, Spread) else name, _converted(field, _read(name, field)))
        for name, field in shape._declared_fields.items()
    )


def _converted(field: fields.Field[Any], read: Reader) -> Reader:
    """Return a reader that also converts the objects in the field to JSON objects."""
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
