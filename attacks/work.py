"""Images that need more CPU time than a request may use."""

import statistics
from collections.abc import Callable, Iterator
from functools import partial

from attacks import images
from attacks.result import Result, counted
from attacks.target import target

GRACE_SECONDS = 1.0
SLOWDOWN = 2.0
DEADLINE_SECONDS = 5.0
DEFAULT_DEADLINE_SECONDS = 30.0
CREATED = 201
ALLOWED = {200, 201, 413, 422, 503}
_NEXT_POSTS = 5
# Work must stop within this time after the deadline.
_STOP_SECONDS = 8.0

# The image and the query, by name.
_CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "4984² full of small faces, haar_default": (images.wallpaper, "detector=haar_default"),
    # A service that rejects the large image may accept this one.
    "2016² full of small faces, haar_default": (
        partial(images.wallpaper, 72 * images.FACE),
        "detector=haar_default",
    ),
    "49 megapixels of noise, haar_default": (images.noise, "detector=haar_default"),
    "49 megapixels of uniform grey, haar_default": (images.flat, "detector=haar_default"),
    "4984² full of small faces, haar from 1 pixel": (images.wallpaper, "min_face_px=1"),
    "49 megapixels of noise, haar from 1 pixel": (images.noise, "min_face_px=1"),
    "4984² full of small faces, single_shot from 1 pixel": (
        images.wallpaper,
        "pipeline=single_shot&min_face_px=1",
    ),
}
_QUICK_CASES = 2


def costly_images(quick: bool) -> Iterator[Result]:
    """The CPU time of one costly request, and the duration of the following requests."""
    cases = list(_CASES.items())
    for name, (make, query) in cases[:_QUICK_CASES] if quick else cases:
        yield _result(name, make(), query, DEADLINE_SECONDS)
    if not quick:
        (name, (make, query)) = cases[0]
        yield _result(name, make(), query, DEFAULT_DEADLINE_SECONDS)


def _result(name: str, image: bytes, query: str, deadline: float) -> Result:
    with target(EMOTION_REQUEST_SECONDS=f"{deadline:g}") as service:
        normal = service.baseline_post()
        start = service.cpu_seconds()
        answer = service.post(image, query, timeout=deadline + 30)
        following = [service.post() for _ in range(_NEXT_POSTS)]
        is_idle = service.wait_until_idle(deadline + _STOP_SECONDS)
        end = service.cpu_seconds()
        alive = service.workers_live
    cpu = max(0.0, end - start - _NEXT_POSTS * normal.cpu_seconds)
    slowed = statistics.median(each.seconds for each in following)
    statuses = [each.status for each in following]
    going_on = "" if is_idle else " and still running"
    return Result(
        f"{name} (deadline {deadline:g} s)",
        1,
        f"{cpu:.1f} s of CPU{going_on}, {counted([answer.status])} after {answer.seconds:.1f} s; "
        f"next posts {1000 * slowed:.0f} ms, {1000 * normal.seconds:.0f} ms before; "
        f"{counted(statuses)}",
        f"CPU at most {deadline + GRACE_SECONDS:g} s, next posts within twice the normal time",
        alive
        and is_idle
        and cpu <= deadline + GRACE_SECONDS
        and answer.status in ALLOWED
        and slowed <= SLOWDOWN * normal.seconds
        and set(statuses) == {CREATED},
    )
