"""/v1/aggregators: methods that compute the mood of a group from the faces."""

from typing import Any

from flask.views import MethodView
from marshmallow import fields

from app.api.access import PUBLIC
from app.api.blueprint import ApiBlueprint
from app.api.models import DESCRIPTION, TITLE
from app.api.response_schema import ResponseSchema, computed
from app.vision.aggregators import AGGREGATORS, DEFAULT

blp = ApiBlueprint("aggregators", url_prefix="/v1", description="Group mood")


class AggregatorSchema(ResponseSchema):
    """The document of an aggregator."""

    name = fields.String(required=True)
    default = computed(fields.Boolean(required=True), lambda it: it.name == DEFAULT)
    title = fields.String(required=True, metadata=TITLE)
    description = fields.String(required=True, metadata=DESCRIPTION)


class AggregatorsSchema(ResponseSchema):
    """The document of a list of aggregators."""

    aggregators = computed(fields.List(fields.Nested(AggregatorSchema), required=True), list)


@blp.route("/aggregators")
class Aggregators(MethodView):
    @blp.requires(PUBLIC)
    @blp.response(200, AggregatorsSchema)
    def get(self) -> Any:
        """Aggregators for the options `mood` and `aggregator`"""
        return list(AGGREGATORS.values())
