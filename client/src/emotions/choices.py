"""What requests can name: models, detectors, pipelines and aggregators. Unknown members of answers
are ignored, so that a newer service works with this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model that requests can name. `card` describes its labels, accuracy, licence and intended
    use. A model that cannot be used has an empty card, and `problem` says why."""

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
    """A face detector that requests can name. `min_face_share`: the smallest face that it looks
    for by default, as a share of the image's longer side; in images more than twice as long as
    wide, twice that share of the shorter side. `problem` says why it is not ready."""

    name: str
    ready: bool
    default: bool
    description: str
    min_face_share: float | None = None
    problem: str | None = None

    @classmethod
    def read(cls, document: Document) -> Detector:
        return cls(
            name=document["name"],
            ready=document["ready"],
            default=document["default"],
            description=document["description"],
            min_face_share=document.get("min_face_share"),
            problem=document.get("problem"),
        )


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that requests can name. `models` is the kind of model that it uses."""

    name: str
    default: bool
    description: str
    models: str

    @classmethod
    def read(cls, document: Document) -> Pipeline:
        return cls(
            name=document["name"],
            default=document["default"],
            description=document["description"],
            models=document["models"],
        )


@dataclass(frozen=True)
class Aggregator:
    """A way to make the mood of a group from its faces, which requests can name."""

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
