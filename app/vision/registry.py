"""The models of one kind in the models folder: which of them work, and each loaded once.

A folder is checked when it is found and again when its files change. The check loads the model and
runs it, see session.py. Each check has a thread of its own: a slow one delays neither the others
nor, for more than WAIT_SECONDS, a client that asks for the list.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from app.errors import ModelUnavailable, UnknownModel
from app.vision.card import ModelCard, kind_of
from app.vision.folders import ModelFolder, ModelFolders, State

log = logging.getLogger(__name__)

WAIT_SECONDS = 3.0
BEING_CHECKED = "it is still being checked"


class Loadable(Protocol):
    @property
    def card(self) -> ModelCard: ...

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> Self:
        """Raises InvalidCard or ModelUnavailable."""


T = TypeVar("T")
Model = TypeVar("Model", bound=Loadable)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model folder: its card when it can be used, otherwise what is wrong with it. `default`
    says whether it is what a request gets that names no model of this kind."""

    name: str
    kind: str
    default: bool
    card: ModelCard | None
    problem: str | None


class LoadOnce(Generic[T]):
    """Objects by name, each loaded once. A failure is remembered as long as the files that it came
    from stay the same: what is broken costs nothing more. Thread-safe."""

    def __init__(self) -> None:
        self._loaded: dict[str, T] = {}
        self._failed: dict[str, tuple[State, ModelUnavailable]] = {}
        self._locks: dict[str, threading.Lock] = {}

    def loaded(self, name: str) -> T | None:
        """What was loaded under that name, without waiting for what is being loaded."""
        return self._loaded.get(name)

    def failure(self, name: str, state: State) -> ModelUnavailable | None:
        """Why files of that state could not be loaded, as far as is known."""
        failed_state, error = self._failed.get(name, (None, None))
        return error if failed_state == state else None

    def load(self, name: str, state: State, load: Callable[[], T]) -> T:
        """What is loaded under that name, or else what `load` returns. Raises ModelUnavailable."""
        with self._locks.setdefault(name, threading.Lock()):
            if name not in self._loaded:
                self._loaded[name] = self._try(name, state, load)
            return self._loaded[name]

    def check(self, name: str, state: State, load: Callable[[], T]) -> T:
        """What `load` returns, which is not kept. Raises ModelUnavailable."""
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
        except Exception as error:  # the folder's fault disables the folder and nothing else
            log.exception("loading %r failed", name)
            raise ModelUnavailable(f"{name!r} cannot be loaded; the log says why") from error


class ModelRegistry(Generic[Model]):
    """Cheap to construct; safe to use from several threads."""

    def __init__(
        self, folders: ModelFolders, kind: str, made: type[Model], *, default: str, threads: int
    ) -> None:
        self._folders, self._kind, self._made = folders, kind, made
        self._default = default
        self._threads = threads
        self._models: LoadOnce[Model] = LoadOnce()
        self._cards: dict[str, tuple[State, ModelCard]] = {}
        self._lock = threading.Lock()
        self._running: dict[str, tuple[threading.Thread, float]] = {}

    def get(self, name: str | None) -> Model:
        """The model of that name, the default where None. Raises UnknownModel, or ModelUnavailable
        when its card or weights are broken or it is the default and missing, which is the
        operator's mistake and not the client's."""
        name = self._default if name is None else name
        if (loaded := self._models.loaded(name)) is not None:
            return loaded
        # Only names that were listed are ever joined to a path.
        if (folder := self._find(name)) is None:
            self._folders.refresh()  # it may have been installed a moment ago
            folder = self._find(name)
        if folder is None:
            if name == self._default:
                raise ModelUnavailable(f"the default model {name!r} is not installed")
            raise UnknownModel(name, [each.name for each in self._of_kind()])
        path = folder.path
        model = self._models.load(
            name, folder.state, lambda: self._made.load(path, threads=self._threads)
        )
        self._cards.setdefault(name, (folder.state, model.card))
        return model

    def statuses(self, wait: float | None = WAIT_SECONDS) -> list[ModelStatus]:
        """Every model as it lies on the disk. One whose check has not ended `wait` seconds after it
        began has the problem BEING_CHECKED; None waits for all."""
        for checker, began in self._checkers():
            checker.join(None if wait is None else max(0.0, began + wait - time.monotonic()))
        return [self._status(folder) for folder in self._of_kind()]

    def _find(self, name: str) -> ModelFolder | None:
        return next((folder for folder in self._of_kind() if folder.name == name), None)

    def _of_kind(self) -> list[ModelFolder]:
        return [folder for folder in self._folders.all() if kind_of(folder.kind) == self._kind]

    def _is_checked(self, folder: ModelFolder) -> bool:
        state, _ = self._cards.get(folder.name, (None, None))
        failure = self._models.failure(folder.name, folder.state)
        return state == folder.state or failure is not None

    def _checkers(self) -> list[tuple[threading.Thread, float]]:
        """The threads that check what is not checked, one for each folder, so that none waits for
        another, and when they began."""
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
                folder.name, folder.state, lambda: self._made.load(folder.path)
            )
        except ModelUnavailable as error:
            log.error("model %r cannot be used: %s", folder.name, error)
            return
        self._cards[folder.name] = folder.state, model.card

    def _status(self, folder: ModelFolder) -> ModelStatus:
        name, default = folder.name, folder.name == self._default
        if failure := self._models.failure(name, folder.state):
            return ModelStatus(name, self._kind, default, None, str(failure))
        state, card = self._cards.get(name, (None, None))
        if state != folder.state:
            return ModelStatus(name, self._kind, default, None, BEING_CHECKED)
        return ModelStatus(name, self._kind, default, card, None)
