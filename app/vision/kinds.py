"""The kinds of models: what a card of each kind holds, and how its weights are loaded.

To add a kind: a class of cards, a loader, and an entry in KINDS. The installer, the registry,
`GET /v1/models` and the evaluation use this table.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from app.errors import InvalidCard
from app.vision.card import CLASSIFIER, DETECTOR, SINGLE_SHOT, Card, DetectorCard
from app.vision.classifier import Classifier, ClassifierCard
from app.vision.detectors import DETECTORS, Detector
from app.vision.folders import list_folders, read_kind
from app.vision.single_shot import SingleShotCard, SingleShotNet


class Loader(Protocol):
    def load(self, folder: Path, *, threads: int = 1) -> Any:
        """Load a model that is ready. `threads` is for ONNX Runtime. Models of a kind that is
        `requested` have their card as `card`.

        Raises InvalidCard or ModelUnavailable.
        """


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of models. `loader` is the class of the models, if the class has a method `load`.

    `description` tells people what a model of this kind does; it may refer to the model's {labels}
    and their {count}. Requests name models of a kind that is `requested`; its cards are ModelCards.
    Other kinds belong to other parts of the service.
    """

    name: str
    description: str
    card: type[Card]
    loader: Loader
    requested: bool = True


class _DetectorLoader:
    """Loads the weights of a detector with the detector of that name."""

    def load(self, folder: Path, *, threads: int = 1) -> Detector:
        name = folder.name
        if name not in DETECTORS:
            raise InvalidCard(f"no detector is called {name!r}; known: {', '.join(DETECTORS)}")
        return DETECTORS[name].load(folder.parent, threads=threads)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(CLASSIFIER, "Names {count} emotions: {labels}.", ClassifierCard, Classifier),
        Kind(
            SINGLE_SHOT,
            "Finds faces and names {count} emotions: {labels}.",
            SingleShotCard,
            SingleShotNet,
        ),
        Kind(DETECTOR, "Finds faces.", DetectorCard, _DetectorLoader(), requested=False),
    )
}


def kind_of(kind: object) -> Kind:
    """The kind of a model whose card has `kind`. A card without a known kind counts as that of a
    classifier, so that a model with a broken card is listed too."""
    return KINDS.get(kind if isinstance(kind, str) else CLASSIFIER, KINDS[CLASSIFIER])


def model_folders(models_dir: Path, kind: str = CLASSIFIER) -> list[Path]:
    """The folders in `models_dir` that hold models of this kind, by name."""
    return [
        folder for folder in list_folders(models_dir) if kind_of(read_kind(folder)).name == kind
    ]
