"""Finds model folders and reads their files safely.

The content of a model folder is not trusted. The card may have a gigabyte, be a pipe, or contain
JSON with a million levels. Every fault of a folder raises InvalidCard, so a broken folder disables
only the model in the folder.
"""

import json
import math
import os
import stat
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from app.errors import InvalidCard

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.onnx"
MAX_CARD_BYTES = 200_000
MAX_CARD_DEPTH = 20  # levels of objects and arrays
_TOO_DEEP = f"the JSON has more than {MAX_CARD_DEPTH} levels"
MAX_WEIGHTS_BYTES = 1_000_000_000
MAX_FILES = 1_000  # maximum number of files per folder that are checked for changes
SCAN_SECONDS = 1.0  # minimum time between two scans of the models folder

# Name, device, inode, size, modification time and change time.
FileState = tuple[str, int, int, int, int, int]
FolderState = tuple[FileState, ...]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model folder at the time of a scan.

    `state` changes when a file in the folder changes. `kind` comes from the card. It is None if the
    card cannot be read or has no kind.
    """

    path: Path
    name: str
    state: FolderState
    kind: object


class ModelFolders:
    """The model folders in the models folder. Thread-safe.

    Scans the models folder at most once in SCAN_SECONDS, and reads a card again only if the folder
    has changed.
    """

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        self._lock = threading.Lock()
        self._found: dict[str, ModelFolder] = {}
        self._scanned = -math.inf

    def all(self) -> list[ModelFolder]:
        """Return all model folders, sorted by name."""
        with self._lock:
            if time.monotonic() - self._scanned >= SCAN_SECONDS:
                self._scan()
            return list(self._found.values())

    def refresh(self) -> None:
        """Scan the models folder now."""
        with self._lock:
            self._scan()

    def state(self, name: str) -> FolderState:
        """Return the state of the folder with this name; empty if there is none."""
        return next((folder.state for folder in self.all() if folder.name == name), ())

    def _scan(self) -> None:
        found = {}
        for path in list_folders(self.models_dir):
            name, state = printable(path.name), folder_state(path)
            folder = self._found.get(name)
            if folder is None or folder.path != path or folder.state != state:
                folder = ModelFolder(path, name, state, read_kind(path))
            found[name] = folder
        self._found = found
        self._scanned = time.monotonic()


def list_folders(models_dir: Path) -> list[Path]:
    """Return the folders in `models_dir` that contain a card or cannot be opened, sorted by
    name."""
    try:
        with os.scandir(models_dir) as entries:
            folders = [Path(entry.path) for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
    return [folder for folder in sorted(folders) if _may_have_card(folder)]


def _may_have_card(folder: Path) -> bool:
    try:
        if not folder.is_dir():
            return False
        os.lstat(folder / CARD_FILE)
    except PermissionError:
        return True  # listed, so that the problem is reported
    except OSError:
        return False
    return True


def folder_state(folder: Path) -> FolderState:
    """Return a value that changes when a file in the folder is written or replaced."""
    names = {".", CARD_FILE, WEIGHTS_FILE}
    with suppress(OSError), os.scandir(folder) as entries:
        names |= {entry.name for entry in islice(entries, MAX_FILES)}
    return tuple(_file_state(folder / name) for name in sorted(names))


def _file_state(path: Path) -> FileState:
    try:
        status = path.stat()
    except OSError as error:  # a broken link, or no permission
        return path.name, 0, 0, 0, 0, error.errno or 0
    return (
        path.name,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def read_kind(folder: Path) -> object:
    """Return the `kind` in the card of a folder; None if the card cannot be read or has none."""
    try:
        document = read_document(folder)
    except InvalidCard:
        return None
    return document.get("kind") if isinstance(document, dict) else None


def read_document(folder: Path) -> Any:
    """Read the JSON of the card of a folder without validating the fields. Raises InvalidCard."""
    try:
        return parse_document(read_file(folder / CARD_FILE, MAX_CARD_BYTES))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidCard(
            f"model {printable(folder.name)!r} has no readable {CARD_FILE}: {reason}"
        ) from error


def read_file(path: Path, max_bytes: int) -> bytes:
    """Read a regular file. Never blocks, even if the path is a named pipe. Raises OSError, and
    ValueError if the file is not regular or has more than `max_bytes`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        size = status.st_size
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1) if size <= max_bytes else b""
    finally:
        os.close(descriptor)
    if max(size, len(data)) > max_bytes:
        raise ValueError(f"the file has more than {max_bytes:,} bytes")
    return data


def parse_document(data: bytes) -> Any:
    """Parse JSON in UTF-8. Raises ValueError for invalid JSON. Also rejects content that some
    JSON parsers cannot read: numbers that are not finite, repeated keys and deep nesting."""
    try:
        document = json.loads(
            data.decode("utf-8"),
            parse_constant=_finite,
            parse_float=_finite,
            object_pairs_hook=_unique,
        )
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError("not valid JSON") from error
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check_depth(document)
    return document


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("the JSON contains a number that is not finite")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("an object in the JSON contains the same key twice")
    return document


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(MAX_CARD_DEPTH + 1):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        # A lone surrogate is valid JSON but cannot be stored or logged.
        _check_text("".join(value))
        return list(value.values())
    if isinstance(value, str):
        _check_text(value)
    return value if isinstance(value, list) else []


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("the JSON contains text that is not valid Unicode") from error


def printable(name: str) -> str:
    """Make a file name safe for messages, labels and JSON: replace control characters and invalid
    UTF-8."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
