"""Clients that post images until each has its 201, and what they saw."""

import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import requests

from app.settings import ROOT

IMAGE = (ROOT / "docs" / "astronaut.jpg").read_bytes()
CONCURRENCY = 8
PATIENCE_SECONDS = 120.0
# The kernel accepts connections for a worker that died; they are silent until another one starts.
UNANSWERED = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
CLOSED = "closed"


@dataclass
class Outcome:
    """What clients saw (answers by kind), and of each image that got its 201 the id and the
    number of faces that the answer named. `ready`: what /readyz answered, by kind."""

    seen: Counter[str] = field(default_factory=Counter)
    ready: Counter[str] = field(default_factory=Counter)
    accepted: dict[str, tuple[int, int]] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)


def load(url: str, posts: int, outcome: Outcome) -> None:
    """Post until every image has its 201, or nobody answered it for PATIENCE_SECONDS."""
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda number: _insist(url, f"{number}.jpg", outcome), range(posts)))


def _insist(url: str, name: str, outcome: Outcome) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = requests.post(
                f"{url}/v1/images", files={"image": (name, IMAGE)}, headers=headers, timeout=60
            )
            document = answer.json()
        except UNANSWERED:
            outcome.seen[CLOSED] += 1
            time.sleep(0.1)
            continue
        kind = str(answer.status_code)
        if answer.status_code == 503:
            kind += "" if "Retry-After" in answer.headers else " without Retry-After"
        outcome.seen[kind] += 1
        if answer.status_code == 201:
            outcome.accepted[name] = (document["id"], len(document["faces"]))
            return
        time.sleep(0.2)  # sooner than it asks for, to press harder
    outcome.given_up.append(name)


def watch(url: str, outcome: Outcome) -> None:
    try:
        kind = str(requests.get(f"{url}/readyz", timeout=60).status_code)
    except UNANSWERED:
        kind = CLOSED
    outcome.ready[kind] += 1
