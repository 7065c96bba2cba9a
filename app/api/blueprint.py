"""flask-smorest as this service uses it: rights, operation ids, problem documents, page links."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import flask_smorest
from flask import Response, jsonify, request

from app.api.access import PUBLIC, View, needs
from app.api.problems import PROBLEM_JSON, ProblemSchema
from app.api.request_images import OptionsParser
from app.store.keys import Right


def link_to_next(cursor: str | None) -> dict[str, str]:
    """The `Link` header (RFC 8288) of a page: the same request with the next cursor."""
    if cursor is None:
        return {}
    arguments = request.args.to_dict() | {"cursor": cursor}
    return {"Link": f'<{request.script_root}{request.path}?{urlencode(arguments)}>; rel="next"'}


class ApiBlueprint(flask_smorest.Blueprint):
    ARGUMENTS_PARSER = OptionsParser()

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, __name__, **kwargs)

    def needs(self, right: Right | str) -> Callable[[View], View]:
        """Mark a view with the right that it needs, or PUBLIC. Must be the outermost decorator."""

        def mark(view: View) -> View:
            resource, method = view.__qualname__.split(".")
            view = self.doc(operationId=f"{method}{resource}")(view)
            if right != PUBLIC:
                view = self.doc(security=[{"key": [str(right)]}])(view)
                view = self.alt_response(401, "UNAUTHORIZED")(view)
                view = self.alt_response(403, "FORBIDDEN")(view)
                view = self.alt_response(429, "TOO_MANY_REQUESTS")(view)
            return needs(right)(view)

        return mark

    def _prepare_arguments_doc(self, doc: Any, doc_info: Any, **kwargs: Any) -> Any:
        # In OpenAPI a parameter cannot also be a field of the body, so options are documented as
        # query parameters.
        arguments = doc_info.get("arguments", {}).get("parameters", [])
        for parameter in arguments:
            if parameter["in"] == "options":
                parameter["in"] = "query"
        if arguments:  # otherwise the parameters that a view documents itself would replace them
            arguments += doc_info.get("manual_doc", {}).pop("parameters", [])
        return super()._prepare_arguments_doc(doc, doc_info, **kwargs)


class Api(flask_smorest.Api):
    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """Register none: problems.py handles every error."""

    def _openapi_json(self) -> Response:
        # Made for each request, because a proxy may send the path of the service in a header.
        servers = [{"url": request.script_root or "/"}]
        return jsonify(self.spec.to_dict() | {"servers": servers})

    def _register_responses(self) -> None:
        self.DEFAULT_RESPONSE_CONTENT_TYPE = PROBLEM_JSON
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE
