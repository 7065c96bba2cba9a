"""The registry of the models of one kind: checks every model and loads each used model once.

The registry checks a folder when it finds the folder, and again when the files change. A check
loads the model and runs it: see session.py. Each check has its own thread, so a slow check does not
delay other checks. A client that lists the models waits at most WAIT_SECONDS.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.errors import ModelUnavailable, UnknownModel
from app.vision.card import ModelCard
from app.vision.folders import FolderState, ModelFolder, ModelFolders
from app.vision.kinds import Kind, kind_of

log = logging.getLogger(__name__)

WAIT_SECONDS = 3.0
BEING_CHECKED = "the model is still being checked"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model folder with its card if the model can be used, otherwise with the problem.

    `default` is True if requests without a model name use this model for its kind. `is_checked` is
    False while the check of the model runs. The problem is BEING_CHECKED during the check.
    """

    name: str
    kind: str
    default: bool
    card: ModelCard | None
    problem: str | None
    is_checked: bool = True


class LoadOnce(Generic[T]):
    """Loads each object once and returns it by name. Thread-safe.

    A ModelUnavailable error is remembered until the files change, so broken files are not loaded
    again.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, T] = {}
        self._failed: dict[str, tuple[FolderState, ModelUnavailable]] = {}
        self._locks: dict[str, threading.Lock] = {}

    def loaded(self, name: str) -> T | None:
        """Return the loaded object with this name, or None. Does not wait for a running load."""
        return self._loaded.get(name)

    def failure(self, name: str, state: FolderState) -> ModelUnavailable | None:
        """Return the remembered error for files in this state, or None."""
        failed_state, error = self._failed.get(name, (None, None))
        return error if failed_state == state else None

    def load(self, name: str, state: FolderState, load: Callable[[], T]) -> T:
        """Return the object with this name. If there is none, load it with `load` and keep it.
        Raises ModelUnavailable."""
        with self._locks.setdefault(name, threading.Lock()):
            if name not in self._loaded:
                self._loaded[name] = self._try(name, state, load)
            return self._loaded[name]

    def check(self, name: str, state: FolderState, load: Callable[[], T]) -> T:
        """Call `load` and return the object without caching it. Raises ModelUnavailable."""
        with self._locks.setdefault(name, threading.Lock()):
            return self._try(name, state, load)

    def _try(self, name: str, state: FolderState, load: Callable[[], T]) -> T:
        if error := self.failure(name, state):
            raise type(error)(*error.args)
        try:
            return load()
        except ModelUnavailable as error:
            self._failed[name] = state, error
            raise
        except Exception as error:  # a fault of one folder must not affect other models
            log.exception("loading %r failed", name)
            failure = ModelUnavailable(f"{name!r} cannot be loaded: see the log for the reason")
            self._failed[name] = state, failure
            raise failure from error


class ModelRegistry:
    """The models of one kind in the models folder. Thread-safe. The constructor loads nothing.

    `threads` is the number of threads that ONNX Runtime uses for one run of a model.
    """

    def __init__(self, folders: ModelFolders, kind: Kind, *, default: str, threads: int) -> None:
        self._folders, self._kind = folders, kind
        self._default = default
        self._threads = threads
        self._models: LoadOnce[Any] = LoadOnce()
        self._cards: dict[str, tuple[FolderState, ModelCard]] = {}
        self._lock = threading.Lock()
        self._running: dict[str, tuple[threading.Thread, float]] = {}

    def get(self, name: str | None) -> Any:
        """Return the model with this name, loaded by the loader of the kind. None means the default
        model.

        Raises UnknownModel, and ModelUnavailable if the card or the weights are broken. A missing
        default model raises ModelUnavailable, because the operator must install it.
        """
        name = self._default if name is None else name
        if (loaded := self._models.loaded(name)) is not None:
            return loaded
        # Prevents path traversal: the name is only compared with the names of existing folders.
        if (folder := self._find(name)) is None:
            self._folders.refresh()  # the model may have been installed after the last scan
            folder = self._find(name)
        if folder is None:
            if name == self._default:
                raise ModelUnavailable(f"the default model {name!r} is not installed")
            raise UnknownModel(name, [each.name for each in self._of_kind()])
        path = folder.path
        model = self._models.load(
            name, folder.state, lambda: self._kind.loader.load(path, threads=self._threads)
        )
        self._cards.setdefault(name, (folder.state, model.card))
        return model

    def statuses(self, wait: float | None = WAIT_SECONDS) -> list[ModelStatus]:
        """Return the status of every model folder.

        Waits for each check until `wait` seconds after that check started. None waits until all
        checks are done. The model of an unfinished check has the problem BEING_CHECKED.
        """
        for checker, started in self._checkers():
            checker.join(None if wait is None else max(0.0, started + wait - time.monotonic()))
        return [self._status(folder) for folder in self._of_kind()]

    def _find(self, name: str) -> ModelFolder | None:
        return next((folder for folder in self._of_kind() if folder.name == name), None)

    def _of_kind(self) -> list[ModelFolder]:
        return [
            folder for folder in self._folders.all() if kind_of(folder.kind).name == self._kind.name
        ]

    def _is_checked(self, folder: ModelFolder) -> bool:
        state, _ = self._cards.get(folder.name, (None, None))
        failure = self._models.failure(folder.name, folder.state)
        return state == folder.state or failure is not None

    def _checkers(self) -> list[tuple[threading.Thread, float]]:
        """Return the thread that checks each unchecked folder, with its start time."""
        with self._lock:
            unchecked = [folder for folder in self._of_kind() if not self._is_checked(folder)]
            for folder in unchecked:
                checker, _ = self._running.get(folder.name, (None, 0.0))
                if checker is None or not checker.is_alive():
                    checker = threading.Thread(target=self._check, args=(folder,), daemon=True)
                    self._running[folder.name] = checker, time.monotonic()
                    checker.start()
            return [self._running[folder.name] for folder in unchecked]

    def _check(self, folder: ModelFolder) -> None:
        try:
            model = self._models.check(
                folder.name,
                folder.state,
                lambda: self._kind.loader.load(folder.path, threads=self._threads),
            )
        except ModelUnavailable as error:
            log.error("model %r cannot be used: %s", folder.name, error)
            return
        self._cards[folder.name] = folder.state, model.card

    def _status(self, folder: ModelFolder) -> ModelStatus:
        name, default = folder.name, folder.name == self._default
        if failure := self._models.failure(name, folder.state):
            return ModelStatus(name, self._kind.name, default, None, str(failure))
        state, card = self._cards.get(name, (None, None))
        if state != folder.state:
            return ModelStatus(
                name, self._kind.name, default, None, BEING_CHECKED, is_checked=False
            )
        return ModelStatus(name, self._kind.name, default, card, None)
