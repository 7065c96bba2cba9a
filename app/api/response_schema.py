"""Declarations of the JSON objects in responses.

A `ResponseSchema` is a marshmallow schema whose fields know how to get their values from an item.
Each schema is declared once. It documents and validates the object, and `serialize` creates the
object with less work per field than marshmallow. The value of a field is the attribute of the item
with the same name, unless `computed` gives the field a getter.
"""

import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, cast

from marshmallow import Schema, fields, missing

Getter = Callable[[Any], Any]
AnyField = TypeVar("AnyField", bound=fields.Field[Any])

# Keys of a field's metadata. The OpenAPI document excludes keys that OpenAPI does not define.
_GETTER = "getter"
_JSON_ONLY = "json_only"


def computed(field: AnyField, getter: Getter, *, json_only: bool = False) -> AnyField:
    """Return `field`, whose value is `getter(item)` from now on.

    If `getter` returns `missing`, the object does not have the key. A `json_only` field has no
    column in CSV.
    """
    field.metadata = {**field.metadata, _GETTER: getter, _JSON_ONLY: json_only}
    return field


class InlineDict(fields.Dict):
    """A mapping whose items become keys of the object itself, at the position of this field.

    The object has no key with the name of the field, so list the name in `Meta.exclude`.
    """


class ResponseSchema(Schema):
    """Base class of the schemas of responses."""

    @classmethod
    def serialize(cls, item: Any) -> dict[str, Any]:
        """Return the JSON object of `item`, with the keys in the order of the fields."""
        document: dict[str, Any] = {}
        for name, getter in _getters(cls):
            value = getter(item)
            if name is None:
                document.update(value)
            elif value is not missing:
                document[name] = value
        return document

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Return the JSON object of the return value of a view. flask-smorest calls this method."""
        return [self.serialize(each) for each in obj] if many else self.serialize(obj)


class Table:
    """Turns items of a schema into rows.

    Each field of a nested object becomes a column. A mapping becomes one column per key of `keys`,
    after all other columns; a cell is None if the mapping does not have the key.
    """

    def __init__(self, schema: type[ResponseSchema], keys: list[str]) -> None:
        self._keys = keys
        self.names: list[str] = []
        # Each getter has the index of the object that it applies to: the item is 0, the nested
        # objects follow in the order of the fields.
        self._nested: list[tuple[int, Getter]] = []
        self._cells: list[tuple[int, Getter]] = []
        self._mappings: list[tuple[int, Getter]] = []
        self._add(schema, 0)
        self.names += keys * len(self._mappings)

    def row(self, item: Any) -> list[Any]:
        """Return the cells of an item, in the order of `names`."""
        objects = [item]
        for outer, getter in self._nested:
            objects.append(getter(objects[outer]))
        cells = [getter(objects[number]) for number, getter in self._cells]
        for number, getter in self._mappings:
            cells.extend(map(getter(objects[number]).get, self._keys))
        return cells

    def _add(self, schema: type[ResponseSchema], number: int) -> None:
        for name, field in schema._declared_fields.items():
            entry = number, _getter(name, field)
            if field.metadata.get(_JSON_ONLY):
                continue
            if inner := _nested_schema(field):
                self._nested.append(entry)
                self._add(inner, len(self._nested))
            elif isinstance(field, fields.Dict):
                self._mappings.append(entry)
            else:
                self._cells.append(entry)
                self.names.append(name)


def _getter(name: str, field: fields.Field[Any]) -> Getter:
    return cast(Getter, field.metadata.get(_GETTER) or attrgetter(name))


def _nested_schema(field: fields.Field[Any] | None) -> type[ResponseSchema] | None:
    """Return the schema of the objects in a field; None if the field has plain JSON values."""
    inner = field.nested if isinstance(field, fields.Nested) else None
    return inner if isinstance(inner, type) and issubclass(inner, ResponseSchema) else None


@functools.cache
def _getters(schema: type[ResponseSchema]) -> tuple[tuple[str | None, Getter], ...]:
    """Return the key and the getter of each field. An InlineDict has the key None."""
    return tuple(
        (None if isinstance(field, InlineDict) else name, _converted(field, _getter(name, field)))
        for name, field in schema._declared_fields.items()
    )


def _converted(field: fields.Field[Any], getter: Getter) -> Getter:
    """Return a getter that also converts the objects in the field to JSON objects."""
    convert: Getter
    if schema := _nested_schema(field):
        convert = schema.serialize
    elif isinstance(field, fields.List) and (schema := _nested_schema(field.inner)):
        convert = functools.partial(_documents, schema)
    elif isinstance(field, fields.Dict) and (schema := _nested_schema(field.value_field)):
        convert = functools.partial(_documents_by_key, schema)
    elif isinstance(field, fields.Dict) and not isinstance(field, InlineDict):
        convert = dict
    else:
        return getter
    return lambda item: value if (value := getter(item)) is missing else convert(value)


def _documents(schema: type[ResponseSchema], items: Any) -> list[dict[str, Any]]:
    return [schema.serialize(each) for each in items]


def _documents_by_key(schema: type[ResponseSchema], items: Any) -> dict[str, dict[str, Any]]:
    return {key: schema.serialize(each) for key, each in items.items()}
