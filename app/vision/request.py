"""What a client asks for: an image and how to analyse it.

The API or the command line makes an `AnalysisRequest`; it passes through app.analyse and the engine
to the pipeline.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from app.vision.types import DetectionOptions, Frame


@dataclass(frozen=True, slots=True)
class ImageData:
    """The bytes of an image file, as the client sent them."""

    data: bytes = field(repr=False)
    file_name: str


@dataclass(frozen=True, slots=True)
class ImageLink:
    """An image that the client names by URL. `fetch` returns the bytes of its file.

    The image is fetched only after the options are checked, and only when the request is not a
    replay: the URL may give another image by then.
    """

    url: str
    file_name: str
    fetch: Callable[[str], bytes] = field(repr=False)

    def fetched(self) -> ImageData:
        """Fetch the image. Raises what `fetch` raises."""
        return ImageData(self.fetch(self.url), self.file_name)


AnyImage: TypeAlias = ImageData | ImageLink
Image_co = TypeVar("Image_co", bound=AnyImage, covariant=True)


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """How to analyse an image, and whether to store the result.

    `pipeline`, `model` and `detector` are names; None means the engine's default. `threshold` is
    the score that an emotion needs to be shown; it does not change what is analysed or stored.
    """

    pipeline: str | None = None
    model: str | None = None
    detector: str | None = None
    detection: DetectionOptions = DetectionOptions()
    threshold: float = 0.0
    store: bool = True


@dataclass(frozen=True, slots=True)
class AnalysisRequest(Generic[Image_co]):
    """An image, the options, and for a frame of a video or stream its place in it."""

    image: Image_co
    options: AnalysisOptions = AnalysisOptions()
    frame: Frame | None = None
