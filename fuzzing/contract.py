"""Contract test: compare the application with its OpenAPI document.

For each operation, schemathesis generates valid and invalid requests, with a key that has all
rights and without a key. It checks each response against the document: status, media type, schema,
headers, authentication and methods.
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
from fuzzing.valid_images import PHOTOGRAPH, valid_images

# All checks of schemathesis run. Some rules cannot be expressed in OpenAPI, so valid requests may
# also be answered 422 (unknown model or cursor, a deletion without a filter), 413 (too many images)
# or 409 (a known idempotency key). An invalid request may also be too large (413).
CHECKS = {
    "negative_data_rejection": {"expected-statuses": ["4XX"]},
    "positive_data_acceptance": {"expected-statuses": ["2XX", 401, 403, 404, 409, 413, 422]},
}

images = strategies.sampled_from(valid_images())
schemathesis.openapi.format("binary", images)
schemathesis.openapi.format("byte", images.map(lambda data: base64.b64encode(data).decode()))
schemathesis.openapi.media_type("application/octet-stream", images)


def run(app: Flask, *, examples: int, seed: int) -> None:
    """Send `examples` requests to each operation, a tenth of them without a key.

    Prints the statuses. Raises the failure of a check, with the request as a curl command.
    """
    with app.app_context():
        key = issue("fuzzing", [Right.ADMIN])
    for operation in operations(app):
        statuses: Counter[int] = Counter()
        image_id = _store_one(app, key)
        for mode in GenerationMode:
            check_operation(
                operation, mode, key, examples=examples * 9 // 20, seed=seed, statuses=statuses
            )
            check_operation(
                operation, mode, None, examples=max(1, examples // 20), seed=seed, statuses=statuses
            )
        if "{image_id}" in operation.path:
            check_operation(
                operation,
                GenerationMode.POSITIVE,
                key,
                examples=examples // 10,
                seed=seed,
                statuses=statuses,
                path={"image_id": image_id},
            )
        counts = ", ".join(f"{number} × {status}" for status, number in sorted(statuses.items()))
        print(f"{operation.label}: {statuses.total():,} requests: {counts}", flush=True)


def _store_one(app: Flask, key: str) -> int:
    """Store an image with a face for reading and deleting. Return the id."""
    response = app.test_client().post(
        "/v1/images",
        data=PHOTOGRAPH.read_bytes(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "image/jpeg"},
    )
    return int(response.get_json()["id"])


def operations(app: Flask) -> list[APIOperation[Any, Any, Any, Any]]:
    """All operations of the OpenAPI document."""
    config = schemathesis.Config.from_dict({"checks": CHECKS})
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app, config=config)
    result = []
    for operation in schema.get_all_operations():
        if isinstance(operation, Err):
            raise operation.err()
        result.append(operation.ok())
    return result


def check_operation(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    key: str | None,
    *,
    examples: int,
    seed: int,
    statuses: Counter[int],
    path: dict[str, Any] | None = None,
) -> None:
    """Check an operation with `examples` requests, and count the statuses in `statuses`.

    `path` has fixed values for parameters of the path.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    def check(case: Case[Any]) -> None:
        response = case.call(headers=headers)
        statuses[response.status_code] += 1
        # Empty values are not sent, so a request that is invalid because of them becomes valid.
        is_lost = any(value in (None, [], {}) for value in case.query.values())
        excluded: list[CheckFunction] = [negative_data_rejection] if is_lost else []
        names = case.body if isinstance(case.body, dict) else ()
        if not all(name and name.isprintable() for name in names):
            # JSON allows any name. The name of a form part is in a header, where control characters
            # are not allowed.
            excluded.append(positive_data_acceptance)
        case.validate_response(response, headers=headers, excluded_checks=excluded)

    decorate = hypothesis.given(operation.as_strategy(mode, headers=headers, path_parameters=path))
    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,  # the machine may be busy
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with suppress(Unsatisfiable):  # an operation without parameters has no invalid requests
        hypothesis.seed(seed)(settings(decorate(check)))()
