"""Extends flask-smorest's blueprints with rights and operation ids; links to the next page."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import flask_smorest
from flask import request

from app.api.access import PUBLIC, View, requires
from app.api.request_images import OptionsParser
from app.store.keys import Right


def link_to_next(cursor: str | None) -> dict[str, str]:
    """Return the `Link` header (RFC 8288) to the next page: the same request with `cursor`.

    Empty if `cursor` is None, which means that this is the last page.
    """
    if cursor is None:
        return {}
    arguments = request.args.to_dict() | {"cursor": cursor}
    return {"Link": f'<{request.script_root}{request.path}?{urlencode(arguments)}>; rel="next"'}


class ApiBlueprint(flask_smorest.Blueprint):
    """A blueprint whose views declare rights, and whose options come from query or body."""

    ARGUMENTS_PARSER = OptionsParser()

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, __name__, **kwargs)

    def requires(self, right: Right | str) -> Callable[[View], View]:
        """Declare the right that a view requires, or PUBLIC. Must be the outermost decorator."""

        def decorate(view: View) -> View:
            resource, method = view.__qualname__.split(".")
            view = self.doc(operationId=f"{method}{resource}")(view)
            if right != PUBLIC:
                view = self.doc(security=[{"key": [str(right)]}])(view)
                view = self.alt_response(401, "UNAUTHORIZED")(view)
                view = self.alt_response(403, "FORBIDDEN")(view)
                view = self.alt_response(429, "TOO_MANY_REQUESTS")(view)
            return requires(right)(view)

        return decorate

    def _prepare_arguments_doc(self, doc: Any, doc_info: Any, **kwargs: Any) -> Any:
        # OpenAPI cannot describe a parameter that may also be a field of the body, so options are
        # documented as query parameters.
        arguments = doc_info.get("arguments", {}).get("parameters", [])
        for parameter in arguments:
            if parameter["in"] == "options":
                parameter["in"] = "query"
        # flask-smorest lets manually documented parameters replace the schema's, so merge both.
        if arguments:
            arguments += doc_info.get("manual_doc", {}).pop("parameters", [])
        return super()._prepare_arguments_doc(doc, doc_info, **kwargs)
