"""Settings of the service, read from environment variables.

The fields of `Settings` define the name, type, default, range and help of each setting. No other
module reads the environment. docs/configuration.md documents all settings, which a test checks.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from app.environment import read_fields, setting
from app.vision.card import DEFAULT_CLASSIFIER

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE.parent
# The folder of migrations and models is inside an installed package, and beside it in a checkout.
IS_INSTALLED = (_PACKAGE / "migrations").is_dir()
RESOURCES = _PACKAGE if IS_INSTALLED else ROOT
# The folder of `instance`, which holds the database unless EMOTION_DATABASE_URL names another.
DATA = Path.cwd() if IS_INSTALLED else ROOT
VERSION = "0.1.0"

SPARE_THREADS = 16
FORM_OVERHEAD = 1_000_000
BUFFER_BYTES = 256_000_000
# Scheme, host and port. There is no wildcard: the operator must list each site.
_ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?", re.ASCII)
LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingError(Exception):
    """The value of an environment variable is invalid. The message names the variable."""


@dataclass(frozen=True, slots=True)
class Settings:
    host: str = setting("HOST", "127.0.0.1", "address to listen on")
    port: int = setting("PORT", 5000, "port to listen on", at_most=65535)
    allow_anonymous: bool = setting(
        "EMOTION_ALLOW_ANONYMOUS",
        False,
        "allow all requests without an API key",
    )
    allowed_hosts: str = setting(
        "EMOTION_ALLOWED_HOSTS",
        "",
        "host names that requests without a key may use besides IP addresses, `localhost` and "
        "`HOST`, for example `nas.local,emotion.example`",
    )
    proxies: int = setting(
        "EMOTION_PROXIES",
        0,
        "number of trusted reverse proxies in front of the service",
        at_most=10,
    )
    root_path: str = setting(
        "EMOTION_ROOT_PATH",
        "",
        "path prefix of the service within a larger site, for example `/emotion`",
    )
    cors_origins: str = setting(
        "EMOTION_CORS_ORIGINS",
        "",
        "origins of other sites whose pages may call the API, for example "
        "`https://a.example,https://b.example`",
    )
    database_url: str = setting(
        "EMOTION_DATABASE_URL",
        f"sqlite:///{DATA / 'instance' / 'emotion.db'}",
        "database of the results: `sqlite:///…` or `postgresql://…`",
    )
    models_dir: Path = setting(
        "EMOTION_MODELS_DIR",
        RESOURCES / "models",
        "folder with one subfolder per model; the detector `haar` needs one too",
    )
    pipeline: str = setting("EMOTION_PIPELINE", "two_stage", "default pipeline")
    model: str = setting("EMOTION_MODEL", DEFAULT_CLASSIFIER, "default classifier")
    detector: str = setting("EMOTION_DETECTOR", "", "default detector of API, page and command")
    threshold: float = setting(
        "EMOTION_THRESHOLD",
        0.5,
        "default threshold of the emotions in the response, from 0 to 1",
        at_most=1,
    )
    max_image_bytes: int = setting(
        "EMOTION_MAX_IMAGE_BYTES",
        15_000_000,
        "maximum size of an image file in bytes",
        at_least=1,
    )
    max_pixels: int = setting(
        "EMOTION_MAX_PIXELS",
        50_000_000,
        "maximum number of pixels of an image",
        at_least=1,
        at_most=178_000_000,  # Pillow rejects larger images as decompression bombs
    )
    max_drawn_pixels: int = setting(
        "EMOTION_MAX_DRAWN_PIXELS",
        10_000_000,
        "maximum number of pixels of an annotated image; larger images are returned smaller",
        at_least=1,
    )
    max_images: int = setting(
        "EMOTION_MAX_IMAGES", 16, "maximum number of images in a request", at_least=1
    )
    max_faces: int = setting(
        "EMOTION_MAX_FACES",
        200,
        "maximum number of faces per image; the largest faces are used",
        at_least=1,
    )
    fetch_hosts: str = setting(
        "EMOTION_FETCH_HOSTS",
        "",
        "comma-separated hosts from which the service may fetch images; without it fetching is "
        "disabled",
    )
    fetch_http: bool = setting("EMOTION_FETCH_HTTP", False, "allow `http://` besides `https://`")
    fetch_seconds: float = setting(
        "EMOTION_FETCH_SECONDS",
        10.0,
        "time limit for fetching an image, in seconds",
        at_least=0.1,
        at_most=60,
    )
    keep_pictures: bool = setting(
        "EMOTION_KEEP_PICTURES", False, "store the image files together with the results"
    )
    pictures_dir: Path = setting(
        "EMOTION_PICTURES_DIR",
        DATA / "instance" / "pictures",
        "folder of the stored image files",
    )
    pictures_key: str = setting(
        "EMOTION_PICTURES_KEY",
        "",
        "encryption key of the stored image files, for example from `openssl rand -base64 32`; "
        "without it they are stored unencrypted",
    )
    retention_days: int = setting(
        "EMOTION_RETENTION_DAYS",
        0,
        "age in days after which `flask --app wsgi retention run` deletes results; 0 keeps them",
        at_most=36_500,
    )
    workers: int = setting(
        "EMOTION_WORKERS",
        0,
        "number of worker processes; 0 starts one per available CPU",
        at_most=512,
    )
    worker_threads: int = setting(
        "EMOTION_WORKER_THREADS",
        2,
        "number of images that a worker analyses at the same time",
        at_least=1,
        at_most=64,
    )
    max_in_flight: int = setting(
        "EMOTION_MAX_IN_FLIGHT",
        16,
        "maximum number of waiting and running image requests per worker; further ones are "
        "rejected with 503",
        at_least=1,
        at_most=1000,
    )
    request_seconds: float = setting(
        "EMOTION_REQUEST_SECONDS",
        30,
        "time limit of a request in seconds, including the upload",
        at_least=0.1,
        at_most=3600,
    )
    rate_limit: str = setting(
        "EMOTION_RATE_LIMIT",
        "",
        "requests per API key, for example `600/minute`; without it requests are not limited",
    )
    public_rate_limit: str = setting(
        "EMOTION_PUBLIC_RATE_LIMIT",
        "120/minute",
        "requests per client address to routes that need no key and to `/metrics`; the files of "
        "the web page have ten times this limit; empty turns the limit off",
    )
    key_failure_limit: str = setting(
        "EMOTION_KEY_FAILURE_LIMIT",
        "10/minute",
        "wrong API keys per client address and per key id, in each worker; empty turns the limit "
        "off",
    )
    rate_limit_url: str = setting(
        "EMOTION_RATE_LIMIT_URL",
        "memory://",
        "storage of the rate counters: `memory://` counts in each worker, `redis://…` for all "
        "workers together",
    )
    log_level: str = setting(
        "EMOTION_LOG_LEVEL",
        "info",
        "lowest level that is logged: `debug`, `info`, `warning` or `error`",
        choices=LOG_LEVELS,
    )
    onnx_threads: int = setting(
        "EMOTION_ONNX_THREADS",
        1,
        "ONNX Runtime threads of a worker, per network",
        at_least=1,
        at_most=64,
    )
    opencv_threads: int = setting(
        "EMOTION_OPENCV_THREADS",
        1,
        "OpenCV threads of a worker; the detector `yunet` uses them too",
        at_least=1,
        at_most=64,
    )

    @property
    def origins(self) -> frozenset[str]:
        """The origins of `cors_origins`. Raises SettingError for an invalid origin."""
        origins = frozenset(part.strip() for part in self.cors_origins.split(",") if part.strip())
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingError(
                    f"EMOTION_CORS_ORIGINS: {origin!r} is not an origin such as https://a.example"
                )
        return origins

    @property
    def request_threads(self) -> int:
        """Threads of a worker that run the application.

        Image requests use at most `max_in_flight` threads. The SPARE_THREADS other threads reject
        further image requests immediately and serve the requests that read results.
        """
        return self.max_in_flight + SPARE_THREADS

    @property
    def max_form_bytes(self) -> int:
        """Maximum size of a form in bytes: the images, and FORM_OVERHEAD for fields and headers."""
        return self.max_images * self.max_image_bytes + FORM_OVERHEAD

    @property
    def max_body_bytes(self) -> int:
        """Maximum size of any other body in bytes. Base64 makes an image a third larger."""
        return self.max_image_bytes * 4 // 3 + FORM_OVERHEAD

    @property
    def buffer_bytes(self) -> int:
        """Maximum total size in bytes of the requests and responses that a worker buffers.

        It is at least the size of the largest form.
        """
        return max(BUFFER_BYTES, self.max_form_bytes)

    @property
    def is_local(self) -> bool:
        """Whether the service listens on a loopback address only."""
        return is_loopback(self.host)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from environment variables.

        Raises SettingError for an invalid value, and for an unknown EMOTION_ variable, because it
        is usually a misspelled setting.
        """
        try:
            return cls(**read_fields(cls, environment))
        except ValueError as error:
            raise SettingError(str(error)) from error


def is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback address or localhost."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
