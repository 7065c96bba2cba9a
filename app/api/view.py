"""How answers show what was found: the options of a request, and pages."""

from dataclasses import dataclass
from typing import Generic

from app.store.records import Item, Page
from app.vision.types import Analysis


@dataclass(frozen=True, slots=True)
class View:
    """How to show an analysis: with a threshold (each image's own if None), in the documented form
    or the full one, and with the mood of the group by the aggregator of this name."""

    threshold: float | None = None
    full: bool = False
    mood: str | None = None

    def threshold_of(self, analysis: Analysis) -> float:
        return analysis.threshold if self.threshold is None else self.threshold


@dataclass
class ShownPage(Generic[Item]):
    """A page of images, or of faces across images."""

    page: Page[Item]
    view: View
