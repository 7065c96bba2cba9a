"""Requests that could make the service use too much memory."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from attacks import images
from attacks.result import Result, counted
from attacks.target import JSON, NO_RESPONSE, PHOTO, Target, poll, target

PEAK_MB = 600
OK, CREATED, UNAVAILABLE = 200, 201, 503
# Pixels per side: a camera image of 24 megapixels, and the largest image that is not scaled down.
PHONE_SIDE, LARGEST_DRAWN_SIDE = 4_900, 3_160
REFUSED = {400, 413, 422, 503}
_CRITERION = f"peak of each worker below {PEAK_MB} MB"
_BOUNDARY = b"attack"
_END = b"--" + _BOUNDARY + b"--\r\n"
_JSON_BYTES = 20_000_000
_CONCURRENCY = 4


def large_forms(quick: bool) -> Iterator[Result]:
    """Eight concurrent forms of 224 MB, for a service that accepts one request at a time."""
    forms = 8
    with target(EMOTION_MAX_IN_FLIGHT="1") as service:
        with ThreadPoolExecutor(forms) as pool:
            # 15 images of 14.93 MB
            statuses = list(pool.map(lambda _: _send_form(service, 15, 14_930_000), range(forms)))
        yield _judge(
            f"{forms} forms of 224 MB at once",
            forms,
            service,
            counted(statuses),
            good=CREATED in statuses and set(statuses) <= {CREATED, UNAVAILABLE},
            criterion=f"answered 201 or 503, at least one 201; {_CRITERION}",
        )
    if quick:
        return
    with target() as service:
        status = _send_form(service, 16, 15_000_000)
        yield _judge(
            "the largest allowed form: 16 × 15 MB",
            1,
            service,
            counted([status]),
            good=status == CREATED,
            criterion=f"answered 201; {_CRITERION}",
        )


def large_json(quick: bool) -> Iterator[Result]:
    """JSON bodies of 20 MB with millions of objects, four concurrent requests."""
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
    with target() as service, ThreadPoolExecutor(_CONCURRENCY) as pool:
        for body in bodies:
            posts = [
                pool.submit(service.ask, "POST", "/v1/images", body, JSON)
                for _ in range(_CONCURRENCY)
            ]
            statuses += [post.result().status for post in posts]
        shapes = "empty lists" if quick else f"empty lists and {len(bodies) - 1} other shapes"
        yield _judge(
            f"JSON of 20 MB, {_CONCURRENCY} at once: {shapes}",
            len(statuses),
            service,
            counted(statuses),
            good=set(statuses) <= REFUSED,
            criterion=f"refused; {_CRITERION}",
        )


def unread_images(quick: bool) -> Iterator[Result]:
    """Annotated PNG responses of noise, which are large and not read."""
    for side in (images.SIDE,) if quick else (images.SIDE, PHONE_SIDE, LARGEST_DRAWN_SIDE):
        yield _unread(images.noise(side), side, 4 if quick else 16)


def _unread(body: bytes, side: int, requests: int) -> Result:
    with target() as service, contextlib.ExitStack() as stack:
        head = service.head(
            "POST",
            "/v1/images?store=false",
            "Accept: image/png",
            "Content-Type: image/jpeg",
            f"Content-Length: {len(body)}",
        )
        connections = []
        for _ in range(requests):
            connection = stack.enter_context(socket.create_connection(service.address, timeout=30))
            with contextlib.suppress(OSError):  # the service may answer before it reads the body
                connection.sendall(head + b"\r\n")
                connection.sendall(body)
            connections.append(connection)
        statuses: list[int] = []
        for _ in poll(45):
            statuses = [_status_so_far(connection) for connection in connections]
            if NO_RESPONSE not in statuses:
                time.sleep(2)  # for the rest of the responses
                break
        return _judge(
            f"unread annotated images of noise with {side}² pixels",
            requests,
            service,
            counted(statuses),
            good=set(statuses) <= {OK, UNAVAILABLE},
            criterion=f"answered 200 or 503; {_CRITERION}",
        )


def _judge(
    attack: str,
    requests: int,
    service: Target,
    statuses: str,
    *,
    good: bool,
    criterion: str = _CRITERION,
) -> Result:
    alive, peak = service.workers_live, service.peak_mb()
    ended = "" if alive else "; a worker ended"
    return Result(
        attack,
        requests,
        f"{peak:.0f} MB; {statuses}{ended}",
        criterion,
        good and alive and peak < PEAK_MB,
    )


def _send_form(service: Target, count: int, size: int) -> int:
    """Send a form with `count` images of `size` bytes each. Return the status.

    The images are padded with zeros, which are allowed after the end of a JPEG.
    """
    part = (
        b"--" + _BOUNDARY + b'\r\nContent-Disposition: form-data; name="image"; '
        b'filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    image = PHOTO + bytes(size - len(PHOTO))
    length = count * (len(part) + size + 2) + len(_END)
    head = service.head(
        "POST",
        "/v1/images",
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY.decode()}",
        f"Content-Length: {length}",
    )
    with socket.create_connection(service.address, timeout=60) as connection:
        # The service may reject the form before it is complete.
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
        return NO_RESPONSE
    return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else NO_RESPONSE


def _list_of(item: bytes) -> bytes:
    return b'{"image":[%s]}' % b",".join([item] * (_JSON_BYTES // (len(item) + 1)))
