"""Clients that post images until each is answered 201, and a record of the responses."""

import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import requests

from app.settings import ROOT

IMAGE = (ROOT / "docs" / "astronaut.jpg").read_bytes()
CONCURRENCY = 8
MAX_IMAGE_SECONDS = 120.0
# The kernel accepts connections after a worker died; they get no response until another one starts.
UNANSWERED = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
CLOSED = "closed"


@dataclass
class Outcome:
    """The responses of a run.

    `responses` counts statuses, and `ready` those of /readyz. `accepted` has the id and the number
    of faces by the name of an image with a 201. `given_up` has the names without a 201.
    """

    responses: Counter[str] = field(default_factory=Counter)
    ready: Counter[str] = field(default_factory=Counter)
    accepted: dict[str, tuple[int, int]] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)


def load(url: str, posts: int, outcome: Outcome) -> None:
    """Post every image until it is answered 201, for at most MAX_IMAGE_SECONDS."""
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(
            pool.map(lambda number: _post_until_stored(url, f"{number}.jpg", outcome), range(posts))
        )


def _post_until_stored(url: str, name: str, outcome: Outcome) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    deadline = time.monotonic() + MAX_IMAGE_SECONDS
    while time.monotonic() < deadline:
        try:
            response = requests.post(
                f"{url}/v1/images", files={"image": (name, IMAGE)}, headers=headers, timeout=60
            )
            document = response.json()
        except UNANSWERED:
            outcome.responses[CLOSED] += 1
            time.sleep(0.1)
            continue
        kind = str(response.status_code)
        if response.status_code == 503:
            kind += "" if "Retry-After" in response.headers else " without Retry-After"
        outcome.responses[kind] += 1
        if response.status_code == 201:
            outcome.accepted[name] = (document["id"], len(document["faces"]))
            return
        time.sleep(0.2)  # shorter than Retry-After, to increase the load
    outcome.given_up.append(name)


def watch(url: str, outcome: Outcome) -> None:
    """Request /readyz once and record the status."""
    try:
        kind = str(requests.get(f"{url}/readyz", timeout=60).status_code)
    except UNANSWERED:
        kind = CLOSED
    outcome.ready[kind] += 1
