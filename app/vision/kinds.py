"""The kinds of models. A kind has a card class and a loader.

To add a kind, write a card class and a loader, and add an entry to KINDS. The installer, the
registry, `GET /v1/models` and the evaluation use this table.
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
        """Load the model in a folder. `threads` is the number of threads for ONNX Runtime. A model
        of a `selectable` kind has the attribute `card`.

        Raises InvalidCard or ModelUnavailable.
        """


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model.

    `description` is shown to users; it may contain {labels} and {count}, the labels of a model and
    their number. `loader` is usually the class of the models. `selectable` is True if requests can
    choose models of this kind by name. The cards of such a kind are ModelCards. Models of other
    kinds belong to other parts of the service, such as detectors.
    """

    name: str
    description: str
    card: type[Card]
    loader: Loader
    selectable: bool = True


class _DetectorLoader:
    """Loads the weights of a detector with the detector class of the same name."""

    def load(self, folder: Path, *, threads: int = 1) -> Detector:
        name = folder.name
        if name not in DETECTORS:
            raise InvalidCard(f"unknown detector {name!r}; known: {', '.join(DETECTORS)}")
        return DETECTORS[name].load(folder.parent, threads=threads)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(CLASSIFIER, "Scores {count} emotions: {labels}.", ClassifierCard, Classifier),
        Kind(
            SINGLE_SHOT,
            "Finds faces and scores {count} emotions: {labels}.",
            SingleShotCard,
            SingleShotNet,
        ),
        Kind(DETECTOR, "Finds faces.", DetectorCard, _DetectorLoader(), selectable=False),
    )
}


def kind_of(kind: object) -> Kind:
    """Return the kind that a card names. Without a known kind, the model counts as a classifier, so
    that models with a broken card are listed too."""
    return KINDS.get(kind if isinstance(kind, str) else CLASSIFIER, KINDS[CLASSIFIER])


def model_folders(models_dir: Path, kind: str = CLASSIFIER) -> list[Path]:
    """Return the folders in `models_dir` with models of this kind, sorted by name."""
    return [
        folder for folder in list_folders(models_dir) if kind_of(read_kind(folder)).name == kind
    ]
