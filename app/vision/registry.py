"""The registry of the models of one kind: checks each model, and loads it once.

A folder is checked when it is found, and again when its files change. The check loads the model and
runs it: see session.py. Each check has its own thread, so a slow check does not delay other checks,
and delays a client that lists the models by WAIT_SECONDS at most.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.errors import ModelUnavailable, UnknownModel
from app.vision.card import ModelCard
from app.vision.folders import ModelFolder, ModelFolders, State
from app.vision.kinds import Kind, kind_of

log = logging.getLogger(__name__)

WAIT_SECONDS = 3.0
BEING_CHECKED = "it is still being checked"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model folder, with its card if the model can be used, otherwise with its problem.
    `default`: whether requests that name no model of this kind get this one. `is_checked` is False
    while the check of the model runs; its problem is BEING_CHECKED then."""

    name: str
    kind: str
    default: bool
    card: ModelCard | None
    problem: str | None
    is_checked: bool = True


class LoadOnce(Generic[T]):
    """Objects by name, each loaded once. Thread-safe.

    ModelUnavailable is remembered until the files change, so broken files are not loaded again.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, T] = {}
        self._failed: dict[str, tuple[State, ModelUnavailable]] = {}
        self._locks: dict[str, threading.Lock] = {}

    def loaded(self, name: str) -> T | None:
        """The loaded object of this name, or None. Does not wait for one that is being loaded."""
        return self._loaded.get(name)

    def failure(self, name: str, state: State) -> ModelUnavailable | None:
        """The remembered error for files of this state, or None."""
        failed_state, error = self._failed.get(name, (None, None))
        return error if failed_state == state else None

    def load(self, name: str, state: State, load: Callable[[], T]) -> T:
        """Return the object of this name; call `load` if there is none. Raises ModelUnavailable."""
        with self._locks.setdefault(name, threading.Lock()):
            if name not in self._loaded:
                self._loaded[name] = self._try(name, state, load)
            return self._loaded[name]

    def check(self, name: str, state: State, load: Callable[[], T]) -> T:
        """Return what `load` returns, without keeping it. Raises ModelUnavailable."""
        with self._locks.setdefault(name, threading.Lock()):
            return self._try(name, state, load)

    def _try(self, name: str, state: State, load: Callable[[], T]) -> T:
        if error := self.failure(name, state):
            raise type(error)(*error.args)
        try:
            return load()
        except ModelUnavailable as error:
            self._failed[name] = state, error
            raise
        except Exception as error:  # a fault of the folder disables its model only
            log.exception("loading %r failed", name)
            failure = ModelUnavailable(f"{name!r} cannot be loaded; the log says why")
            self._failed[name] = state, failure
            raise failure from error


class ModelRegistry:
    """Cheap to construct; safe to use from several threads. `threads` is how many threads ONNX
    Runtime uses for one run of a model."""

    def __init__(self, folders: ModelFolders, kind: Kind, *, default: str, threads: int) -> None:
        self._folders, self._kind = folders, kind
        self._default = default
        self._threads = threads
        self._models: LoadOnce[Any] = LoadOnce()
        self._cards: dict[str, tuple[State, ModelCard]] = {}
        self._lock = threading.Lock()
        self._running: dict[str, tuple[threading.Thread, float]] = {}

    def get(self, name: str | None) -> Any:
        """Return the model of this name, or the default for None: what the kind's loader returns.

        Raises UnknownModel, and ModelUnavailable if its card or weights are broken, or if it is the
        default and missing, which is a mistake of the operator and not of the client."""
        name = self._default if name is None else name
        if (loaded := self._models.loaded(name)) is not None:
            return loaded
        # Only names of folders that were found become part of a path.
        if (folder := self._find(name)) is None:
            self._folders.refresh()  # it may have been installed a moment ago
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
        """The status of every model on the disk. Waits for checks until `wait` seconds after they
        began; an unfinished one has the problem BEING_CHECKED. None waits for all checks."""
        for checker, began in self._checkers():
            checker.join(None if wait is None else max(0.0, began + wait - time.monotonic()))
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
        """The threads that check unchecked folders, one for each folder, with the times when they
        began."""
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
