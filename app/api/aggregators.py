"""/v1/aggregators: the ways to make the mood of a group from its faces."""

from typing import Any

from flask.views import MethodView
from marshmallow import fields

from app.api.access import PUBLIC
from app.api.blueprint import ApiBlueprint
from app.api.models import DESCRIPTION, TITLE
from app.api.shape import Shape, member
from app.vision.aggregators import AGGREGATORS, DEFAULT

blp = ApiBlueprint("aggregators", url_prefix="/v1", description="The mood of a group")


class AggregatorSchema(Shape):
    name = fields.String(required=True)
    default = member(fields.Boolean(required=True), lambda it: it.name == DEFAULT)
    title = fields.String(required=True, metadata=TITLE)
    description = fields.String(required=True, metadata=DESCRIPTION)


class AggregatorsSchema(Shape):
    """Its item is the list."""

    aggregators = member(fields.List(fields.Nested(AggregatorSchema), required=True), list)


@blp.route("/aggregators")
class Aggregators(MethodView):
    @blp.needs(PUBLIC)
    @blp.response(200, AggregatorsSchema)
    def get(self) -> Any:
        """Aggregators that `mood` and `aggregator` can name"""
        return list(AGGREGATORS.values())
