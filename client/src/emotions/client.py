"""HTTP client of the emotion recognition service."""

import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from emotions.choices import Aggregator, Detector, Model, Pipeline
from emotions.connection import checked_header_value
from emotions.deprecation import renamed_argument, renamed_method
from emotions.errors import BadReply, NotFound
from emotions.outcomes import Outcome, outcomes
from emotions.parameters import Filters, Options, filter_parameters, parameters
from emotions.sources import read_image, sendable_name
from emotions.transport import Reply, Transport
from emotions.types import Analysis, Annotated, FoundFace, Mood, Span

if TYPE_CHECKING:
    from emotions.sources import ImageSource

T = TypeVar("T")
Source = TypeVar("Source")


class EmotionClient:
    """Client of one service. It is thread-safe.

    `base_url` is the address of the service, without user name and password. `api_key` is sent as
    `Authorization: Bearer …`. A password from ~/.netrc never replaces it.

    `timeout` is the connect timeout and the read timeout, in seconds. `retries` is the number of
    retries while the service is unreachable, overloaded or rate-limited. All attempts to send an
    image have the same Idempotency-Key, so that the service stores it once.

    If `trust_env` is true, environment variables select the proxy (HTTP_PROXY, HTTPS_PROXY,
    ALL_PROXY, NO_PROXY) and the CA certificates (REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE). Requests to a
    service on the same machine never use a proxy: localhost, 127.0.0.0/8, ::1, a name that resolves
    to loopback addresses only, or the machine's own name. The client never reads ~/.netrc and never
    follows redirects.

    Raises ValueError for an invalid `base_url` or `api_key`. Every method can raise EmotionError
    or a subclass; see emotions.errors.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:5000",
        api_key: str | None = None,
        *,
        timeout: tuple[float, float] = (5.0, 60.0),
        retries: int = 4,
        trust_env: bool = True,
    ) -> None:
        self._transport = Transport(
            base_url, api_key, timeout=timeout, retries=retries, trust_env=trust_env
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. A later request opens new ones."""
        self._transport.close()

    # ---------------------------------------------------------------- analyse

    @renamed_argument("picture", "image")
    def analyse(
        self,
        image: "ImageSource",
        *,
        file_name: str | None = None,
        store: bool = True,
        idempotency_key: str | None = None,
        **options: Unpack[Options],
    ) -> Analysis:
        """Detect the faces of an image and classify their emotions.

        `image` is one of:

        - a path, the bytes of an image file, or an open binary file. It is sent unchanged.
        - a PIL image of any mode. The current frame is sent, rotated according to its EXIF
          orientation, as by PIL.ImageOps.exif_transpose. If you rotate the pixels yourself, also
          remove the tag, because PIL's rotate() and transpose() keep it.
        - an array: (height, width), (height, width, channels) or (channels, height, width) with 1
          (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA) channels, as bool, uint8, uint16, other
          integers in 0..255, or floats in 0..1 or 0..255. The channel order is RGB. OpenCV uses
          BGR: pass `image[..., ::-1]`.

        Boxes are in pixels of the upright image. `width` and `height` of the result are its size.

        `file_name` replaces the name of the file. The service replaces control characters and
        backslashes in the name by U+FFFD; `images(file_name=...)` accepts the original name and the
        stored name. Pass an `idempotency_key` if a later run of your program may send the same
        image again. The service keeps keys for 24 hours.

        Raises UnreadableImage if the image cannot be read, NotAnImage (also a TypeError) for other
        objects, and Problem for an error of the service.
        """
        reply = self._post(image, file_name, options, store=store, key=idempotency_key)
        return self._read(reply, self._analysis)

    @renamed_argument("picture", "image")
    def annotated(
        self,
        image: "ImageSource",
        *,
        media_type: str = "image/png",
        file_name: str | None = None,
        store: bool = True,
        idempotency_key: str | None = None,
        **options: Unpack[Options],
    ) -> Annotated:
        """Return the upright image with boxes and labels, as `image/png` or `image/jpeg`.

        Accepts the same images and raises the same errors as `analyse`.
        """
        reply = self._post(
            image, file_name, options, store=store, key=idempotency_key, accept=media_type
        )
        location = reply.headers.get("Location", "")
        image_id = location.rpartition("/")[2]
        return Annotated(
            data=reply.content,
            media_type=reply.headers.get("Content-Type", media_type),
            image_id=int(image_id) if image_id.isdecimal() else None,
        )

    @renamed_argument("pictures", "images")
    def analyse_many(
        self, images: Iterable[Source], *, workers: int = 4, **options: Any
    ) -> Generator[Outcome[Source], None, None]:
        """Yield one Outcome per image, in order. A failed image does not stop the others.

        `workers` images are sent concurrently. At most 2 * `workers` images are read ahead, so
        `images` may be infinite. Takes the same options as `analyse`.
        """

        def analyse(source: Source) -> Analysis:
            return self.analyse(source, **options)  # type: ignore[arg-type]

        return outcomes(analyse, images, workers=workers)

    # ---------------------------------------------------------------- read

    def image(self, image_id: int, *, threshold: float | None = None) -> Analysis:
        """Return the analysis of a stored image."""
        params = parameters(view="full", threshold=threshold)
        return self._read(self._get(f"/v1/images/{image_id}", params), self._analysis)

    def image_file(self, image_id: int) -> bytes:
        """Return the file of a stored image. Raises NotFound if the file is not stored."""
        return self._get(f"/v1/images/{image_id}/picture", {}).content

    picture = renamed_method("picture", image_file)

    def images(self, *, page_size: int = 100, **filters: Unpack[Filters]) -> Iterator[Analysis]:
        """Iterate over the matching stored images, newest first. Pages are fetched lazily."""
        return self._pages("images", filter_parameters(filters), page_size, self._analysis)

    def faces(self, *, page_size: int = 100, **filters: Unpack[Filters]) -> Iterator[FoundFace]:
        """Iterate over the matching faces of stored images, newest image first. Pages are fetched
        lazily."""
        return self._pages("faces", filter_parameters(filters), page_size, FoundFace.read)

    def summary(self, by: str = "day", **filters: Unpack[Filters]) -> list[Span]:
        """Return counts and means by `hour`, `day` (UTC) or `model`."""
        reply = self._get("/v1/summary", {"by": by, **filter_parameters(filters)})
        return self._read(reply, lambda body: [Span.read(span) for span in body["spans"]])

    def mood(
        self,
        image_id: int,
        aggregator: str | None = None,
        *,
        min_face_px: float = 0,
        min_confidence: float = 0,
    ) -> Mood:
        """Return the mood of the group in a stored image.

        Without an `aggregator`, the service uses its default. Faces below `min_face_px` or
        `min_confidence` (a detection score) are excluded.
        """
        params = parameters(
            aggregator=aggregator, min_face_px=min_face_px, min_confidence=min_confidence
        )
        return self._read(self._get(f"/v1/images/{image_id}/mood", params), Mood.read)

    def models(self) -> list[Model]:
        """Return the models of the service."""
        return self._all("models", Model.read)

    def detectors(self) -> list[Detector]:
        """Return the face detectors of the service."""
        return self._all("detectors", Detector.read)

    def pipelines(self) -> list[Pipeline]:
        """Return the pipelines of the service."""
        return self._all("pipelines", Pipeline.read)

    def aggregators(self) -> list[Aggregator]:
        """Return the aggregators of the service."""
        return self._all("aggregators", Aggregator.read)

    # ---------------------------------------------------------------- delete

    def delete(self, image_id: int) -> None:
        """Delete a stored image with its faces and its file."""
        try:
            self._transport.send("DELETE", f"/v1/images/{image_id}")
        except NotFound as error:
            # A 404 after a retry: an earlier attempt deleted the image, and its response was lost.
            if error.tries == 1:
                raise

    def delete_matching(self, **filters: Unpack[Filters]) -> int:
        """Delete all matching stored images and return their number. Requires a filter."""
        reply = self._transport.send("DELETE", "/v1/images", params=filter_parameters(filters))
        return self._read(reply, lambda body: int(body["erased"]))

    # ---------------------------------------------------------------- requests

    def _post(
        self,
        image: "ImageSource",
        file_name: str | None,
        options: Options,
        *,
        store: bool,
        key: str | None,
        accept: str = "application/json",
    ) -> Reply:
        key = uuid.uuid4().hex if key is None else checked_header_value("idempotency_key", key)
        name, data = read_image(image)
        name = sendable_name(file_name) if file_name else name
        return self._transport.send(
            "POST",
            "/v1/images",
            data=parameters(**options, store=store, view="full"),
            files={"image": (name, data)},
            headers={"Idempotency-Key": key, "Accept": accept},
        )

    def _get(self, path: str, params: dict[str, str]) -> Reply:
        return self._transport.send("GET", path, params=params)

    def _all(self, collection: str, read: Callable[[Any], T]) -> list[T]:
        reply = self._get(f"/v1/{collection}", {})
        return self._read(reply, lambda body: [read(item) for item in body[collection]])

    def _pages(
        self, collection: str, filters: dict[str, str], size: int, read: Callable[[Any], T]
    ) -> Iterator[T]:
        params = {**filters, "view": "full", "page_size": str(size)}

        def read_page(body: Any) -> tuple[list[T], str | None]:
            return [read(item) for item in body[collection]], body["next_cursor"]

        while True:
            items, cursor = self._read(self._get(f"/v1/{collection}", params), read_page)
            yield from items
            if cursor is None:
                return
            params["cursor"] = cursor

    def _analysis(self, document: Any) -> Analysis:
        return Analysis.read(document, self.mood)

    def _read(self, reply: Reply, read: Callable[[Any], T]) -> T:
        try:
            return read(reply.json())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadReply(
                f"unexpected response ({error}): check that base_url is the address of the service"
            ) from error
