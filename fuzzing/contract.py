"""What the OpenAPI document says, held against what the application does, by schemathesis.

For each operation requests are made that the document allows and such that it does not, with a key
that may do everything and without one. Each answer is held against the document: its status, its
media type, its schema, its headers, whether a key is really needed, which methods there are.
"""

import base64
from collections import Counter
from contextlib import suppress
from typing import Any

import hypothesis
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, CheckFunction, GenerationMode
from schemathesis.core.result import Err
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)

from app.keys import issue
from app.store.keys import Right
from fuzzing.good_images import PHOTOGRAPH, good_images

# All of schemathesis' checks are made. One is told what OpenAPI cannot say: which models and
# cursors there are and that an erasure needs one filter of several (422), how many pictures the
# operator allows (413), which keys came before (409). The other one does not know that what is
# wrong may also be too much (413).
CHECKS = {
    "negative_data_rejection": {"expected-statuses": ["4XX"]},
    "positive_data_acceptance": {"expected-statuses": ["2XX", 401, 403, 404, 409, 413, 422]},
}

pictures = strategies.sampled_from(good_images())
schemathesis.openapi.format("binary", pictures)
schemathesis.openapi.format("byte", pictures.map(lambda data: base64.b64encode(data).decode()))
schemathesis.openapi.media_type("application/octet-stream", pictures)


def run(app: Flask, *, examples: int, seed: int) -> None:
    """So many of each operation, a tenth of them without a key. Prints what came of them. Raises
    what the checks raise, with the request as a curl command."""
    with app.app_context():
        key = issue("fuzzing", [Right.ADMIN])
    for operation in operations(app):
        came: Counter[int] = Counter()
        image_id = _store_one(app, key)
        for mode in GenerationMode:
            hold(operation, mode, key, examples=examples * 9 // 20, seed=seed, came=came)
            hold(operation, mode, None, examples=max(1, examples // 20), seed=seed, came=came)
        if "{image_id}" in operation.path:
            there, few = {"image_id": image_id}, examples // 10
            mode = GenerationMode.POSITIVE
            hold(operation, mode, key, examples=few, seed=seed, came=came, path=there)
        seen = ", ".join(f"{number} × {status}" for status, number in sorted(came.items()))
        print(f"{operation.label}: {came.total():,} requests: {seen}", flush=True)


def _store_one(app: Flask, key: str) -> int:
    """The id of an image with a face, so that there is something to read and to erase."""
    answer = app.test_client().post(
        "/v1/images",
        data=PHOTOGRAPH.read_bytes(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "image/jpeg"},
    )
    return int(answer.get_json()["id"])


def operations(app: Flask) -> list[APIOperation[Any, Any, Any, Any]]:
    config = schemathesis.Config.from_dict({"checks": CHECKS})
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app, config=config)
    made = []
    for found in schema.get_all_operations():
        if isinstance(found, Err):
            raise found.err()
        made.append(found.ok())
    return made


def hold(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    key: str | None,
    *,
    examples: int,
    seed: int,
    came: Counter[int],
    path: dict[str, Any] | None = None,
) -> None:
    """Hold an operation to the document by so many requests, counting the statuses in `came`;
    `path` are parameters of the path that are not to be chosen by chance."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    def check(case: Case[Any]) -> None:
        response = case.call(headers=headers)
        came[response.status_code] += 1
        # What is wrong about these is lost on the way: an empty list is no argument.
        lost = any(value in (None, [], {}) for value in case.query.values())
        left_out: list[CheckFunction] = [negative_data_rejection] if lost else []
        names = case.body if isinstance(case.body, dict) else ()
        if not all(name and name.isprintable() for name in names):
            # JSON allows any name. The name of a form part is in a header, where control characters
            # are not allowed.
            left_out.append(positive_data_acceptance)
        case.validate_response(response, headers=headers, excluded_checks=left_out)

    given = hypothesis.given(operation.as_strategy(mode, headers=headers, path_parameters=path))
    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,  # the machine does other work too
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with suppress(Unsatisfiable):  # an operation without arguments can be asked nothing wrong
        hypothesis.seed(seed)(settings(given(check)))()
