"""An analysis request: an image and the options for its analysis.

The API or the command line creates an `AnalysisRequest` and passes it to app.analyse, which passes
it to the engine and the pipeline.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from app.vision.types import DetectionOptions, Frame


@dataclass(frozen=True, slots=True)
class ImageData:
    """An image file as the client sent it."""

    data: bytes = field(repr=False)
    file_name: str


@dataclass(frozen=True, slots=True)
class ImageLink:
    """An image that the client passes as a URL. `fetch` downloads the URL and returns the file.

    The image is fetched only after the options are checked, and only if the request is not a
    replay, because the URL may return a different image later.
    """

    url: str
    file_name: str
    fetch: Callable[[str], bytes] = field(repr=False)

    def fetched(self) -> ImageData:
        """Fetch the image. Raises the errors of `fetch`."""
        return ImageData(self.fetch(self.url), self.file_name)


AnyImage: TypeAlias = ImageData | ImageLink
Image_co = TypeVar("Image_co", bound=AnyImage, covariant=True)


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """Options of an analysis.

    `pipeline`, `model` and `detector` are names; None means the engine's default. `threshold` is
    the minimum score of an emotion in the response; the analysis and the stored result contain all
    emotions. `store` says whether to store the result.
    """

    pipeline: str | None = None
    model: str | None = None
    detector: str | None = None
    detection: DetectionOptions = DetectionOptions()
    threshold: float = 0.0
    store: bool = True


@dataclass(frozen=True, slots=True)
class AnalysisRequest(Generic[Image_co]):
    """An image, the options, and the position in the video or stream if the image is a frame."""

    image: Image_co
    options: AnalysisOptions = AnalysisOptions()
    frame: Frame | None = None
