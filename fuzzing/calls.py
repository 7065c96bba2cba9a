"""Random hostile requests, and checks of the responses."""

import base64
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fuzzing.damage import damaged
from fuzzing.report import Finding
from fuzzing.valid_images import valid_images

MAX_PROBLEM_BYTES = 65_536  # usual problem documents have a few hundred bytes
MAX_BYTES = 2_000_000  # of a response: a page of 200 images, an annotated image

METHODS = ("GET",) * 8 + ("POST", "DELETE", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE")
PATHS = (
    "/v1/images", "/v1/images", "/v1/images", "/v1/faces", "/v1/summary", "/index", "/v1/models",
    "/v1/detectors", "/v1/pipelines", "/v1/aggregators", "/healthz", "/readyz", "/metrics",
    "/openapi.json", "/docs", "/", "/v1/nothing", "/v1/images/", "/v1/images/1/mood",
    "//v1/images", "/docs/assets/index.css",
)  # fmt: skip
IDS: tuple[str, ...] = (
    "1", "2", "7", "0", "-1", "1.5", "abc", "%00", str(2**31), str(2**63 - 1), str(2**63),
    "9" * 5000, "..%2f..%2fetc%2fpasswd", "%F0%9F%98%80", "%ff", "1%0d%0aX:%20y", "%EF%BC%91",
)  # fmt: skip
OPTIONS = (
    "threshold", "pipeline", "model", "detector", "min_face_px", "min_confidence", "max_faces",
    "rotate", "file_name", "view", "store", "emotion", "min_probability", "since", "until",
    "min_faces", "page_size", "cursor", "by", "mood", "aggregator", "filters", "image", "",
    "no such option", "__class__", "a.b[0]",
)  # fmt: skip
VALID_ANALYSIS_OPTIONS = {
    "threshold": "0.3", "pipeline": "two_stage", "detector": "single_shot", "min_face_px": "20",
    "file_name": "a.jpg", "view": "full", "store": "false", "max_faces": "3", "mood": "quality",
    "rotate": "auto",
}  # fmt: skip
VALID_READ_OPTIONS = {
    "file_name": "a.jpg", "emotion": "happiness", "min_probability": "0.3", "min_faces": "1",
    "since": "2026-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "model": "custom_net_8",
}  # fmt: skip
TEXTS = (
    "", " ", "\0", "a\0b", "\r\nX: y", "\x1b[31m", "\u202e", "\uffff", "\U0001f600" * 50, "a" * 300,
    "a" * 5000, "../../etc/passwd", "' OR 1=1 --", "%s%n{}", "null", "None", "NaN", "-inf", "1e309",
    "-0", "0", "1", "0.5", "1.0000001", "9" * 5000, str(2**31), str(2**63), str(-(2**63) - 1),
    "0x10", "vote", "none", "auto",
    "\uff11", "1_000", "true", "False", "t", "full", "day", "model", "haar", "yunet", "single_shot",
    "custom_net_8", "vgg13_8_int8", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00+99:99", "2026-02-30T00:00:00Z",
    "2026-W01-1T00:00:00Z", "20260101T000000Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "MTIz", "MS4yLjM", "AAAA", "=cmd|' /C calc'!A0",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 1e308, 10**400, 2**63, [], {}, [1], {"a": 1}, [[[]]],
    "\ud800", "\udcff.jpg", *TEXTS,
)  # fmt: skip
TYPES = (
    "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=\"x; charset=utf-16", "application/json",
    "application/json; charset=utf-16", "application/json; charset=nothing", "application/x+json",
    "image/png", "image/", "image/jpeg; charset=idna", "application/octet-stream", "text/plain",
    "application/x-www-form-urlencoded", "", ";", "a/b/c", "\xff/\xfe",
)  # fmt: skip
HEADERS = {
    "Accept": ("*/*", "image/png", "image/jpeg", "text/csv", "text/html", "", ";q=2", "a" * 5000,
               "image/png;q=nan, */*;q=-1", "image/*;q=0.5", ",,,,"),
    "Idempotency-Key": ("k", "k2", "", "\"", "\"k\"", "a" * 256, "\xe9", " "),
    "Authorization": ("", "Bearer", "Bearer emo_x_y", "Basic YTpi", "Basic \xff", "Bearer \xff",
                      "Digest a=b",
                      "Bearer " + "a" * 5000, "bearer emo_000000000000_" + "A" * 43),
    "X-Request-ID": ("mine", "", "a b", "\xe9", "x" * 200),
    "Content-Encoding": ("gzip", "br"),
    "Expect": ("100-continue", "nothing"),
    "Range": ("bytes=0-1", "bytes=-"),
    "If-None-Match": ("*", "\"a\""),
    "If-Modified-Since": ("never", "Mon, 01 Jan 0001 00:00:00 GMT"),
    "Cookie": ("a=b; " * 100, "\xff"),
    "Origin": ("null", "http://example.org"),
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A request."""

    method: str
    target: str  # path and query, percent-encoded
    headers: Mapping[str, str]  # latin-1
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.target[:80]} {len(self.body)} bytes"


def call_number(seed: int, index: int) -> Call:
    """The request with this number."""
    rng = random.Random(f"call:{seed}:{index}")
    if rng.random() < 0.4:
        return _image_call(rng)
    path = rng.choice(PATHS)
    if rng.random() < 0.25:
        path = f"/v1/images/{rng.choice(IDS)}"
    body, kind = b"", None
    if rng.random() < 0.3:
        body, kind = _body(rng)
    return Call(rng.choice(METHODS), path + _query(rng), _headers(rng, kind), body)


def _image_call(rng: random.Random) -> Call:
    """A request that usually reaches the decoder."""
    body, kind = _body(rng)
    path = rng.choice(("/v1/images",) * 5 + ("/index",))
    query = _query(rng, VALID_ANALYSIS_OPTIONS) if rng.random() < 0.3 else ""
    headers = _headers(rng, kind) if rng.random() < 0.5 else {"Content-Type": kind}
    return Call("POST", path + query, headers, body)


def _headers(rng: random.Random, kind: str | None) -> dict[str, str]:
    names = rng.sample(list(HEADERS), rng.choice((0, 0, 1, 1, 2)))
    headers = {name: rng.choice(HEADERS[name]) for name in names}
    if kind is not None and rng.random() < 0.1:
        kind = rng.choice(TYPES)
    return headers if kind is None else {"Content-Type": kind, **headers}


def _query(rng: random.Random, valid: Mapping[str, str] = VALID_READ_OPTIONS) -> str:
    count = rng.choice((0, 0, 1, 1, 2, 3, 6))
    pairs = []
    for name, value in (_option(rng, valid) for _ in range(count)):
        text = value.encode("utf-8", "surrogatepass")
        if rng.random() < 0.05:
            text = rng.randbytes(8)
        pairs.append(f"{quote(name)}={quote(text)}")
    query = "&".join(pairs)
    return f"?{query}" if query else ""


def _option(rng: random.Random, valid: Mapping[str, str]) -> tuple[str, str]:
    if rng.random() < 0.7:
        return rng.choice(list(valid.items()))
    return rng.choice(OPTIONS), rng.choice(TEXTS)


def _image(rng: random.Random) -> bytes:
    return rng.choice(valid_images()) if rng.random() < 0.3 else damaged(rng)


def _body(rng: random.Random) -> tuple[bytes, str]:
    make = rng.choice((_raw, _json, _json, _form, _form, _form))
    body, kind = make(rng)
    if rng.random() < 0.1 and body:
        at = rng.randrange(len(body))
        body = rng.choice((body[:at], body[at:], body[:at] + rng.randbytes(3) + body[at:]))
    return body, kind


def _raw(rng: random.Random) -> tuple[bytes, str]:
    return _image(rng), rng.choice(("image/png", "application/octet-stream"))


def _json(rng: random.Random) -> tuple[bytes, str]:
    if rng.random() < 0.05:
        whole = rng.choice((b"", b"{", b"null", b"[]", b"[" * 100_000, b'{"a":' * 5000, b"\xff"))
        return whole, "application/json"
    text = base64.b64encode(_image(rng)).decode()
    document: dict[str, Any] = {"image": text}
    if rng.random() < 0.2:
        document["image"] = rng.choice((f"data:image/png;base64,{text}", text[:-1], *VALUES))
    for _ in range(rng.choice((0, 0, 1, 2, 3))):
        name, value = _option(rng, VALID_ANALYSIS_OPTIONS)
        document[name] = rng.choice(VALUES) if rng.random() < 0.2 else value
    if rng.random() < 0.02:
        document |= {f"unknown {number}": number for number in range(5000)}
    return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    ), "application/json"


def _form(rng: random.Random) -> tuple[bytes, str]:
    parts = []
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 3, 20))):
        name = rng.choice(("image",) * 9 + ("", "imgae", 'im"age', "\xe9"))
        file = rng.choice(("a.png", "", "..\\..\\a", "\0", "a" * 5000, "\xe9\u4e2d", '";x="'))
        end = f'; filename="{file}"' if rng.random() < 0.95 else ""
        parts.append((f'form-data; name="{name}"{end}', _image(rng)))
    for _ in range(rng.choice((0, 0, 1, 2, 3))):
        name, value = _option(rng, VALID_ANALYSIS_OPTIONS)
        parts.append((f'form-data; name="{name}"', value.encode("utf-8", "surrogatepass")))
    if rng.random() < 0.01:
        parts += [(f'form-data; name="unknown {number}"', b"") for number in range(1500)]
    rng.shuffle(parts)
    body = b"".join(
        b"--x\r\nContent-Disposition: " + head.encode("utf-8") + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return body + b"--x--\r\n", "multipart/form-data; boundary=x"


_SECRETS = re.compile(rb"Traceback|\.py\b|site-packages|/home/|sqlite|SELECT |INSERT ")


def check_response(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise Finding for a response that the service must not send."""
    if status >= 500 and (status != 503 or "Retry-After" not in headers):
        raise Finding(f"{status} {body[:300]!r}")
    if len(body) > (MAX_BYTES if status < 400 else MAX_PROBLEM_BYTES):
        raise Finding(f"{status} with {len(body)} bytes: {body[:300]!r}")
    if "X-Request-ID" not in headers:
        raise Finding(f"{status} without a request id")
    if status < 400:
        return
    if headers.get("Content-Type") != "application/problem+json":
        raise Finding(f"{status} as {headers.get('Content-Type')}: {body[:300]!r}")
    if call.method == "HEAD":
        return
    problem = json.loads(body)
    if not {"type", "title", "status", "detail", "request_id"} <= problem.keys():
        raise Finding(f"{status} with the fields {sorted(problem)}")
    if problem["status"] != status or problem["request_id"] != headers["X-Request-ID"]:
        raise Finding(f"{status}, {headers['X-Request-ID']}: {problem}")
    if _SECRETS.search(body):
        raise Finding(f"{status} discloses internals: {body[:500]!r}")
