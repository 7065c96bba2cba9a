"""The models of one kind in the models folder, each loaded once, when it is asked for."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from app.errors import ModelUnavailable, UnknownModel
from app.vision.card import ModelCard, model_folders, read_weights


class Loadable(Protocol):
    @property
    def card(self) -> ModelCard: ...

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> Self:
        """Raises InvalidCard or ModelUnavailable."""


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


class Shelf(Generic[Model]):
    """Cheap to construct; safe to use from several threads."""

    def __init__(
        self,
        models_dir: Path,
        kind: str,
        made: type[Model],
        read_card: Callable[[Path], ModelCard],
        *,
        default: str,
        threads: int,
    ) -> None:
        self._models_dir, self._kind, self._made, self._read_card = (
            models_dir,
            kind,
            made,
            read_card,
        )
        self._default = default
        self._threads = threads
        self._lock = threading.Lock()
        self._models: dict[str, Model] = {}
        self._sound: set[tuple[object, ...]] = set()  # what has been seen to run: see _claims

    def get(self, name: str | None) -> Model:
        """The model of that name, the default where None. Raises UnknownModel, or ModelUnavailable
        when its card or weights are broken or it is the default and missing, which is the
        operator's mistake and not the client's."""
        name = self._default if name is None else name
        if (loaded := self._models.get(name)) is not None:
            return loaded  # without waiting for another model that is being loaded
        with self._lock:
            if name not in self._models:
                # Only names that were listed are ever joined to a path.
                if name not in (known := [folder.name for folder in self._folders()]):
                    if name == self._default:
                        raise ModelUnavailable(f"the default model {name!r} is not installed")
                    raise UnknownModel(name, known)
                loaded = self._made.load(self._models_dir / name, threads=self._threads)
                self._models[name] = loaded
                self._sound.add(_claims(loaded.card))
            return self._models[name]

    def statuses(self) -> list[ModelStatus]:
        """Every model, checked as it lies on the disk now: its card, the checksum of its weights,
        and, once for each of these, that they load, fit each other and run."""
        return [self._status(folder) for folder in self._folders()]

    def _status(self, folder: Path) -> ModelStatus:
        is_default = folder.name == self._default
        try:
            card = self._read_card(folder)
            if _claims(card) in self._sound:
                read_weights(folder, card)
            else:
                self._made.load(folder)
                self._sound.add(_claims(card))
        except ModelUnavailable as error:
            return ModelStatus(folder.name, self._kind, is_default, None, str(error))
        return ModelStatus(folder.name, self._kind, is_default, card, None)

    def _folders(self) -> list[Path]:
        return [folder for folder, kind in model_folders(self._models_dir) if kind == self._kind]


def _claims(card: ModelCard) -> tuple[object, ...]:
    """What loading a model puts to the test: weights, and what the card says goes in and out."""
    return card.sha256, card.input_sizes, len(card.labels)
