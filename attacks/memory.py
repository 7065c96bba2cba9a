"""Requests that demand more memory than the service should use for them."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from attacks import images
from attacks.result import Result, counted
from attacks.target import JSON, NO_ANSWER, PHOTO, Target, target, until

PEAK_MB = 600
OK, CREATED, UNAVAILABLE = 200, 201, 503
# Pixels a side: a camera image of 24 megapixels, and the largest image that is not drawn smaller.
PHONE_SIDE, LARGEST_DRAWN_SIDE = 4_900, 3_160
REFUSED = {400, 413, 422, 503}
_BAR = f"peak of each worker below {PEAK_MB} MB"
_BOUNDARY = b"attack"
_END = b"--" + _BOUNDARY + b"--\r\n"
_JSON_BYTES = 20_000_000
_AT_ONCE = 4


def large_forms(quick: bool) -> Iterator[Result]:
    """Eight forms of 224 MB at once, for a service that accepts one request with images at a
    time."""
    forms = 8
    with target(EMOTION_MAX_IN_FLIGHT="1") as it:
        with ThreadPoolExecutor(forms) as pool:
            # 15 images of 14.93 MB
            statuses = list(pool.map(lambda _: _send_form(it, 15, 14_930_000), range(forms)))
        yield _judged(
            f"{forms} forms of 224 MB at once",
            forms,
            it,
            counted(statuses),
            good=CREATED in statuses and set(statuses) <= {CREATED, UNAVAILABLE},
            bar=f"answered 201 or 503, at least one 201; {_BAR}",
        )
    if quick:
        return
    with target() as it:
        status = _send_form(it, 16, 15_000_000)
        yield _judged(
            "the largest form that is allowed: 16 × 15 MB",
            1,
            it,
            counted([status]),
            good=status == CREATED,
            bar=f"answered 201; {_BAR}",
        )


def large_json(quick: bool) -> Iterator[Result]:
    """JSON bodies of 20 MB with millions of objects, four requests at once."""
    bodies = [_list_of(b"[]")]
    if not quick:
        half = _JSON_BYTES // 2 - 10
        bodies += [
            _list_of(b"{}"),
            _list_of(b"1"),
            _list_of(b'"ab"'),
            b"{%s}" % b",".join(b'"%07d":0' % number for number in range(_JSON_BYTES // 12)),
            b'{"image":%s%s}' % (b"[" * half, b"]" * half),
        ]
    statuses: list[int] = []
    with target() as it, ThreadPoolExecutor(_AT_ONCE) as pool:
        for body in bodies:
            posts = [pool.submit(it.ask, "POST", "/v1/images", body, JSON) for _ in range(_AT_ONCE)]
            statuses += [post.result().status for post in posts]
        shapes = "empty lists" if quick else f"empty lists and {len(bodies) - 1} other shapes"
        yield _judged(
            f"JSON of 20 MB, {_AT_ONCE} at once: {shapes}",
            len(statuses),
            it,
            counted(statuses),
            good=set(statuses) <= REFUSED,
            bar=f"refused; {_BAR}",
        )


def unread_images(quick: bool) -> Iterator[Result]:
    """Images of noise, whose large annotated PNG files are not read."""
    for side in (images.SIDE,) if quick else (images.SIDE, PHONE_SIDE, LARGEST_DRAWN_SIDE):
        yield _unread(images.noise(side), side, 4 if quick else 16)


def _unread(body: bytes, side: int, requests: int) -> Result:
    with target() as it, contextlib.ExitStack() as stack:
        head = it.head(
            "POST",
            "/v1/images?store=false",
            "Accept: image/png",
            "Content-Type: image/jpeg",
            f"Content-Length: {len(body)}",
        )
        connections = []
        for _ in range(requests):
            connection = stack.enter_context(socket.create_connection(it.address, timeout=30))
            with contextlib.suppress(OSError):  # the service may answer before it reads the body
                connection.sendall(head + b"\r\n")
                connection.sendall(body)
            connections.append(connection)
        statuses: list[int] = []
        for _ in until(45):
            statuses = [_status_so_far(connection) for connection in connections]
            if NO_ANSWER not in statuses:
                time.sleep(2)  # the rest of the answers
                break
        return _judged(
            f"annotated images of {side}² pixels of noise that are not read",
            requests,
            it,
            counted(statuses),
            good=set(statuses) <= {OK, UNAVAILABLE},
            bar=f"answered 200 or 503; {_BAR}",
        )


def _judged(
    attack: str, tried: int, it: Target, answers: str, *, good: bool, bar: str = _BAR
) -> Result:
    lives, peak = it.workers_live, it.peak_mb()
    ended = "" if lives else "; a worker ended"
    return Result(
        attack,
        tried,
        f"{peak:.0f} MB; {answers}{ended}",
        bar,
        good and lives and peak < PEAK_MB,
    )


def _send_form(it: Target, count: int, size: int) -> int:
    """Send a form with `count` images of `size` bytes each; return the status. Zeros after the end
    of a JPEG are allowed."""
    part = (
        b"--" + _BOUNDARY + b'\r\nContent-Disposition: form-data; name="image"; '
        b'filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    image = PHOTO + bytes(size - len(PHOTO))
    length = count * (len(part) + size + 2) + len(_END)
    head = it.head(
        "POST",
        "/v1/images",
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY.decode()}",
        f"Content-Length: {length}",
    )
    with socket.create_connection(it.address, timeout=60) as connection:
        # A refusal may come before everything is sent.
        with contextlib.suppress(OSError):
            connection.sendall(head + b"\r\n")
            for _ in range(count):
                connection.sendall(part)
                connection.sendall(image)
                connection.sendall(b"\r\n")
            connection.sendall(_END)
        return _status(lambda: connection.recv(64))


def _status_so_far(connection: socket.socket) -> int:
    connection.setblocking(False)
    return _status(lambda: connection.recv(64, socket.MSG_PEEK))


def _status(read: Callable[[], bytes]) -> int:
    try:
        line = read()
    except OSError:
        return NO_ANSWER
    return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else NO_ANSWER


def _list_of(item: bytes) -> bytes:
    return b'{"image":[%s]}' % b",".join([item] * (_JSON_BYTES // (len(item) + 1)))
