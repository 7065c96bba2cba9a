"""One declaration makes the JSON, the columns of a table and the OpenAPI document."""

from types import SimpleNamespace

from marshmallow import fields, missing

from app.api.shape import Shape, Spread, Table, member


class Inner(Shape):
    x = fields.Integer()
    y = member(fields.Integer(), lambda it: it.x + 1)


class Outer(Shape):
    class Meta:
        exclude = ("more",)

    name = fields.String()
    absent = member(fields.String(), lambda _: missing)
    more = member(Spread(), lambda it: it.more)
    inner = fields.Nested(Inner)
    several = member(fields.List(fields.Nested(Inner)), lambda it: [it.inner, it.inner])
    by_key = member(fields.Dict(fields.String(), fields.Nested(Inner)), lambda it: {"k": it.inner})
    note = member(fields.String(), lambda _: "JSON", json_only=True)


class Row(Shape):
    name = fields.String()
    scores = fields.Dict(fields.String(), fields.Float())
    inner = fields.Nested(Inner)
    note = member(fields.String(), lambda _: "JSON", json_only=True)


ITEM = SimpleNamespace(name="a", more={"p": 1, "q": 2}, inner=SimpleNamespace(x=1), scores={"b": 2})


def test_keys_come_in_the_order_of_the_fields():
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
    document = Outer.document(ITEM)
    assert document == expected
    assert list(document) == list(expected)
    assert Outer().dump(ITEM) == document
    assert Outer().dump([ITEM], many=True) == [document]


def test_the_document_is_valid_by_its_own_declaration():
    assert Inner().validate(Inner.document(ITEM.inner)) == {}
    assert "y" in Inner().validate({"x": 1, "y": "no number"})
    assert "more" not in Outer().fields


def test_a_table_has_a_column_for_each_member_and_key():
    table = Table(Row, ["b", "c"])
    assert table.names == ["name", "x", "y", "b", "c"]
    assert table.row(ITEM) == ["a", 1, 2, 2, None]


def test_a_subclass_adds_fields_at_the_end():
    class More(Inner):
        z = member(fields.Integer(), lambda _: 0)

    assert list(More.document(ITEM.inner)) == ["x", "y", "z"]
    assert list(Inner.document(ITEM.inner)) == ["x", "y"]
