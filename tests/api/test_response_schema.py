"""Response schemas: serialisation, validation and tables from one declaration."""

from types import SimpleNamespace

from marshmallow import fields, missing

from app.api.response_schema import InlineDict, ResponseSchema, Table, computed


class Inner(ResponseSchema):
    x = fields.Integer()
    y = computed(fields.Integer(), lambda it: it.x + 1)


class Outer(ResponseSchema):
    class Meta:
        exclude = ("more",)

    name = fields.String()
    absent = computed(fields.String(), lambda _: missing)
    more = computed(InlineDict(), lambda it: it.more)
    inner = fields.Nested(Inner)
    several = computed(fields.List(fields.Nested(Inner)), lambda it: [it.inner, it.inner])
    by_key = computed(
        fields.Dict(fields.String(), fields.Nested(Inner)), lambda it: {"k": it.inner}
    )
    note = computed(fields.String(), lambda _: "JSON", json_only=True)


class Row(ResponseSchema):
    name = fields.String()
    scores = fields.Dict(fields.String(), fields.Float())
    inner = fields.Nested(Inner)
    note = computed(fields.String(), lambda _: "JSON", json_only=True)


ITEM = SimpleNamespace(name="a", more={"p": 1, "q": 2}, inner=SimpleNamespace(x=1), scores={"b": 2})


def test_keys_have_order_of_fields():
    inner = {"x": 1, "y": 2}
    expected = {
        "name": "a",
        "p": 1,
        "q": 2,
        "inner": inner,
        "several": [inner, inner],
        "by_key": {"k": inner},
        "note": "JSON",
    }
    document = Outer.serialize(ITEM)
    assert document == expected
    assert list(document) == list(expected)
    assert Outer().dump(ITEM) == document
    assert Outer().dump([ITEM], many=True) == [document]


def test_document_validates_against_its_shape():
    assert Inner().validate(Inner.serialize(ITEM.inner)) == {}
    assert "y" in Inner().validate({"x": 1, "y": "not a number"})
    assert "more" not in Outer().fields


def test_table_has_a_column_for_each_member_and_key():
    table = Table(Row, ["b", "c"])
    assert table.names == ["name", "x", "y", "b", "c"]
    assert table.row(ITEM) == ["a", 1, 2, 2, None]


def test_subclass_adds_fields_at_the_end():
    class Extended(Inner):
        z = computed(fields.Integer(), lambda _: 0)

    assert list(Extended.serialize(ITEM.inner)) == ["x", "y", "z"]
    assert list(Inner.serialize(ITEM.inner)) == ["x", "y"]
