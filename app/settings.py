"""Every setting of the service: name, type, default and help in one table, the fields below.

Read from the environment here and nowhere else. docs/configuration.md lists
them all; a test compares.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_type_hints

from app.plain_numbers import parse_decimal, parse_whole

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE.parent
# The folder of migrations and models is inside an installed package, and beside it in a checkout.
IS_INSTALLED = (_PACKAGE / "migrations").is_dir()
RESOURCES = _PACKAGE if IS_INSTALLED else ROOT
# The folder of `instance`, which holds the database unless EMOTION_DATABASE_URL names another.
DATA = Path.cwd() if IS_INSTALLED else ROOT
VERSION = "0.1.0"

# The variables that Kubernetes adds to every pod for a Service called "emotion" or "emotion-…". The
# value must fit too: EMOTION_PORT=8080 is a mistake for PORT=8080.
_SERVICE_ADDRESS = r"[0-9.]+|[0-9a-fA-F:.]+"
_SERVICE_URL = rf"(tcp|udp|sctp)://(\[?({_SERVICE_ADDRESS})\]?):\d+"
SERVICE_VARIABLES = tuple(
    (re.compile(rf"EMOTION(_[A-Z0-9_]+)?_{name}"), re.compile(value))
    for name, value in (
        (r"SERVICE_HOST", _SERVICE_ADDRESS),
        (r"SERVICE_PORT(_[A-Z0-9_]+)?", r"\d+"),
        (r"PORT(_\d+_(TCP|UDP|SCTP))?", _SERVICE_URL),
        (r"PORT_\d+_(TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
        (r"PORT_\d+_(TCP|UDP|SCTP)_PORT", r"\d+"),
        (r"PORT_\d+_(TCP|UDP|SCTP)_ADDR", _SERVICE_ADDRESS),
    )
)

SPARE_THREADS = 16
FORM_OVERHEAD = 1_000_000
BUFFER_BYTES = 256_000_000
# Scheme, host and port; no `*`: who wants everybody in says so site by site.
_ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?", re.ASCII)

_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)
LOG_LEVELS = ("debug", "info", "warning", "error")

_BOOLEANS = {"true": True, "false": False}
_READERS: dict[type, Callable[[str], Any]] = {
    bool: lambda text: _BOOLEANS[text.lower()],
    int: parse_whole,
    float: parse_decimal,
}
_KINDS = {bool: "true or false", int: "a whole number", float: "a decimal number"}


class SettingError(Exception):
    """An environment variable that cannot be used; the message names it and says why."""


def _setting(
    env: str,
    default: Any,
    help: str,
    at_least: float = 0,
    at_most: float = 1e18,
    *,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"env": env, "help": help, "range": (at_least, at_most), "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    host: str = _setting("HOST", "127.0.0.1", "address to listen on")
    port: int = _setting("PORT", 5000, "port to listen on", at_most=65535)
    allow_anonymous: bool = _setting(
        "EMOTION_ALLOW_ANONYMOUS",
        False,
        "whether everyone who reaches the service may do everything without a key",
    )
    allowed_hosts: str = _setting(
        "EMOTION_ALLOWED_HOSTS",
        "",
        "host names that requests without a key may use besides IP addresses, `localhost` and "
        "`HOST`, as in `nas.local,emotion.example`",
    )
    proxies: int = _setting(
        "EMOTION_PROXIES",
        0,
        "proxies in front, whose X-Forwarded-… headers are believed",
        at_most=10,
    )
    root_path: str = _setting(
        "EMOTION_ROOT_PATH",
        "",
        "path of a larger site below which the service is reached, as in `/emotion`",
    )
    cors_origins: str = _setting(
        "EMOTION_CORS_ORIGINS",
        "",
        "other sites whose pages may ask, as in `https://a.example,https://b.example`",
    )
    database_url: str = _setting(
        "EMOTION_DATABASE_URL",
        f"sqlite:///{DATA / 'instance' / 'emotion.db'}",
        "where results are kept: sqlite:///… or postgresql://…",
    )
    models_dir: Path = _setting(
        "EMOTION_MODELS_DIR",
        RESOURCES / "models",
        "folder with a folder for each model; the detector haar has one too",
    )
    pipeline: str = _setting("EMOTION_PIPELINE", "two_stage", "pipeline when a request names none")
    model: str = _setting(
        "EMOTION_MODEL", "custom_net_8", "classifier when a request names no model"
    )
    detector: str = _setting("EMOTION_DETECTOR", "haar", "detector when a request names none")
    threshold: float = _setting(
        "EMOTION_THRESHOLD", 0.5, "threshold when a request gives none", at_most=1
    )
    max_image_bytes: int = _setting(
        "EMOTION_MAX_IMAGE_BYTES", 15_000_000, "bytes a picture may have", at_least=1
    )
    max_pixels: int = _setting(
        "EMOTION_MAX_PIXELS",
        50_000_000,
        "pixels a picture may have",
        at_least=1,
        at_most=178_000_000,  # Pillow refuses more, as a decompression bomb
    )
    max_drawn_pixels: int = _setting(
        "EMOTION_MAX_DRAWN_PIXELS",
        10_000_000,
        "pixels of an annotated image; larger images are returned smaller",
        at_least=1,
    )
    max_images: int = _setting("EMOTION_MAX_IMAGES", 16, "pictures a request may have", at_least=1)
    max_faces: int = _setting(
        "EMOTION_MAX_FACES", 200, "faces kept of a picture, the largest first", at_least=1
    )
    fetch_hosts: str = _setting(
        "EMOTION_FETCH_HOSTS",
        "",
        "hosts that pictures are fetched from by URL, separated by commas; none: by no URL",
    )
    fetch_http: bool = _setting(
        "EMOTION_FETCH_HTTP", False, "whether http:// is fetched too, and not only https://"
    )
    fetch_seconds: float = _setting(
        "EMOTION_FETCH_SECONDS", 10.0, "seconds that fetching may take", at_least=0.1, at_most=60
    )
    keep_pictures: bool = _setting(
        "EMOTION_KEEP_PICTURES", False, "whether pictures are kept beside their results"
    )
    pictures_dir: Path = _setting(
        "EMOTION_PICTURES_DIR", DATA / "instance" / "pictures", "folder of kept pictures"
    )
    pictures_key: str = _setting(
        "EMOTION_PICTURES_KEY",
        "",
        "key that kept pictures are encrypted with, as of `openssl rand -base64 32`; none: plain",
    )
    retention_days: int = _setting(
        "EMOTION_RETENTION_DAYS",
        0,
        "days that results are kept, by `flask --app wsgi retention run`; 0 means for ever",
        at_most=36_500,
    )
    workers: int = _setting(
        "EMOTION_WORKERS", 0, "worker processes; 0 means one for each available CPU", at_most=512
    )
    worker_threads: int = _setting(
        "EMOTION_WORKER_THREADS",
        2,
        "pictures that a worker works at at a time",
        at_least=1,
        at_most=64,
    )
    max_in_flight: int = _setting(
        "EMOTION_MAX_IN_FLIGHT",
        16,
        "requests with pictures that a worker has at a time; more are answered 503",
        at_least=1,
        at_most=1000,
    )
    request_seconds: float = _setting(
        "EMOTION_REQUEST_SECONDS",
        30,
        "seconds that a request may take, sending it included",
        at_least=0.1,
        at_most=3600,
    )
    rate_limit: str = _setting(
        "EMOTION_RATE_LIMIT",
        "",
        "requests of each key, as in `600/minute`; empty means any number",
    )
    public_rate_limit: str = _setting(
        "EMOTION_PUBLIC_RATE_LIMIT",
        "120/minute",
        "requests of each address for what needs no key, and for `/metrics`; ten times as many for "
        "the files of the page; empty means any number",
    )
    key_failure_limit: str = _setting(
        "EMOTION_KEY_FAILURE_LIMIT",
        "10/minute",
        "wrong keys of each address and for each key id, in each worker; empty means any number",
    )
    rate_limit_url: str = _setting(
        "EMOTION_RATE_LIMIT_URL",
        "memory://",
        "where requests are counted: in each worker, or redis://… for all workers together",
    )
    log_level: str = _setting(
        "EMOTION_LOG_LEVEL",
        "info",
        "lowest level that is logged: debug, info, warning or error",
        choices=LOG_LEVELS,
    )
    onnx_threads: int = _setting(
        "EMOTION_ONNX_THREADS",
        1,
        "threads of ONNX Runtime in a worker, for each network",
        at_least=1,
        at_most=64,
    )
    opencv_threads: int = _setting(
        "EMOTION_OPENCV_THREADS",
        1,
        "threads of OpenCV in a worker, for `yunet` too",
        at_least=1,
        at_most=64,
    )

    @property
    def origins(self) -> frozenset[str]:
        """The sites of `cors_origins`. Raises SettingError for what is no origin."""
        origins = frozenset(part.strip() for part in self.cors_origins.split(",") if part.strip())
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingError(
                    f"EMOTION_CORS_ORIGINS: {origin!r} is no origin, as https://a.example is one"
                )
        return origins

    @property
    def host_names(self) -> frozenset[str]:
        """`allowed_hosts` and `host`, lower case. Raises SettingError for an invalid host name."""
        names = {part.strip().lower() for part in self.allowed_hosts.split(",")} - {""}
        names = {name.removesuffix(".") for name in names}
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise SettingError(
                    f"EMOTION_ALLOWED_HOSTS: {name!r} is not a host name such as nas.local: leave "
                    "out scheme, port, path and wildcards"
                )
        return frozenset({*names, self.host.lower().removesuffix(".")})

    @property
    def request_threads(self) -> int:
        """Threads of a worker that read requests and answer them: more than may have pictures at
        work, so that the others are refused at once and reading results goes on."""
        return self.max_in_flight + SPARE_THREADS

    @property
    def max_form_bytes(self) -> int:
        """Bytes a form may have: its images, and FORM_OVERHEAD for fields and headers of parts."""
        return self.max_images * self.max_image_bytes + FORM_OVERHEAD

    @property
    def max_body_bytes(self) -> int:
        """Bytes any other body may have: one image in base64, which makes it a third larger."""
        return self.max_image_bytes * 4 // 3 + FORM_OVERHEAD

    @property
    def buffer_bytes(self) -> int:
        """Bytes of requests and responses that a worker may hold: at least the largest form."""
        return max(BUFFER_BYTES, self.max_form_bytes)

    @property
    def is_local(self) -> bool:
        """Whether it listens to the machine that it runs on only."""
        return is_loopback(self.host)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises SettingError for a value of the wrong type or range and for an unknown
        EMOTION_ variable, which is most often a misspelt one."""
        fields = {field.metadata["env"]: field for field in dataclasses.fields(cls)}
        kinds = get_type_hints(cls)
        for env, text in environment.items():
            if not env.startswith("EMOTION_") or env in fields or _is_of_kubernetes(env, text):
                continue
            raise SettingError(f"{env} is no setting; known: {', '.join(fields)}")
        values = {
            field.name: _parse(env, environment[env], kinds[field.name], field.metadata)
            for env, field in fields.items()
            if env in environment
        }
        return cls(**values)


def is_loopback(host: str) -> bool:
    """Whether a name or address means the machine itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_of_kubernetes(env: str, text: str) -> bool:
    return any(name.fullmatch(env) and value.fullmatch(text) for name, value in SERVICE_VARIABLES)


def _parse(env: str, text: str, kind: type, metadata: Mapping[str, Any]) -> Any:
    if choices := metadata["choices"]:
        if text.lower() not in choices:
            raise SettingError(f"{env}={text!r} is not one of {', '.join(choices)}")
        return text.lower()
    try:
        value = _READERS.get(kind, kind)(text)
    except (ValueError, KeyError) as error:
        raise SettingError(f"{env}={text!r} is not {_KINDS[kind]}") from error
    low, high = metadata["range"]
    # `not … <=` and not `>`: a NaN is in no range.
    if kind in (int, float) and not low <= value <= high:
        raise SettingError(f"{env}={text!r} is not in {low:g} to {high:g}")
    return value
