"""The models, detectors, pipelines and aggregators that a service offers.

Unknown JSON members are ignored, so that this package works with a newer service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model of the service. `card` describes its labels, accuracy, licence and intended use. If
    the model is not ready, `card` is empty and `problem` is the reason."""

    name: str
    kind: str
    ready: bool
    default: bool
    card: Mapping[str, Any]
    problem: str | None = None

    @classmethod
    def read(cls, document: Document) -> Model:
        return cls(
            name=document["name"],
            kind=document["kind"],
            ready=document["ready"],
            default=document["default"],
            card=dict(document.get("card", {})),
            problem=document.get("problem"),
        )


@dataclass(frozen=True)
class Detector:
    """A face detector of the service.

    The default minimum size of a face is `min_face_share` times the longer side of the image, or
    twice `min_face_share` times the shorter side if this is smaller. If the detector is not ready,
    `problem` is the reason. The command `emotions` uses the `recommended` detector if it is ready
    and the user chooses none; requests without a detector use the `default`.
    """

    name: str
    ready: bool
    default: bool
    description: str
    min_face_share: float | None = None
    problem: str | None = None
    recommended: bool = False

    @classmethod
    def read(cls, document: Document) -> Detector:
        return cls(
            name=document["name"],
            ready=document["ready"],
            default=document["default"],
            description=document["description"],
            min_face_share=document.get("min_face_share"),
            problem=document.get("problem"),
            recommended=document.get("recommended", False),
        )


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of the service.

    `models` is the kind of model that it uses. Without `takes_detector`, it has its own detector.
    """

    name: str
    default: bool
    description: str
    models: str
    takes_detector: bool = True

    @classmethod
    def read(cls, document: Document) -> Pipeline:
        return cls(
            name=document["name"],
            default=document["default"],
            description=document["description"],
            models=document["models"],
            takes_detector=document.get("takes_detector", True),
        )


@dataclass(frozen=True)
class Aggregator:
    """A method that computes the mood of a group from its faces."""

    name: str
    default: bool
    title: str
    description: str

    @classmethod
    def read(cls, document: Document) -> Aggregator:
        return cls(
            name=document["name"],
            default=document["default"],
            title=document["title"],
            description=document["description"],
        )
