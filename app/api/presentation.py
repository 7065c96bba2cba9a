"""The presentation options of a response, and a page of stored results with these options."""

from dataclasses import dataclass
from typing import Generic

from app.store.records import Item, Page
from app.vision.types import Analysis


@dataclass(frozen=True, slots=True)
class PresentationOptions:
    """Options that choose the form of the images and faces in a response.

    `threshold` replaces the threshold stored with each image. `full` selects the full form instead
    of the default form. `mood` is the aggregator of the group mood, or None for no mood.
    """

    threshold: float | None = None
    full: bool = False
    mood: str | None = None

    def threshold_of(self, analysis: Analysis) -> float:
        return analysis.threshold if self.threshold is None else self.threshold


@dataclass
class ShownPage(Generic[Item]):
    """A page of images, or of faces of several images, with the options to show it."""

    page: Page[Item]
    presentation: PresentationOptions
