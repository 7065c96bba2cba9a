"""The client: one method for each kind of request."""

import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from emotions.choices import Aggregator, Detector, Model, Pipeline
from emotions.connection import checked_header_value
from emotions.errors import BadReply, NotFound
from emotions.outcomes import Outcome, outcomes
from emotions.parameters import given, given_filters
from emotions.sources import read_picture, sendable_name
from emotions.transport import Reply, Transport
from emotions.types import Analysis, Annotated, Filters, FoundFace, Mood, Options, Span

if TYPE_CHECKING:
    from emotions.sources import Picture

T = TypeVar("T")
Source = TypeVar("Source")


class EmotionClient:
    """The client of one service. Threads may share it.

    `base_url`: the address of the service, without user name and password. `api_key`: sent as
    `Authorization: Bearer …`; nothing else is ever sent in that header.

    `timeout`: seconds to connect and seconds between two bytes of an answer. `retries`: how often a
    request is sent again while the service is away, busy or limits the rate. Each image has an
    Idempotency-Key of its own, so nothing is analysed and kept twice.

    `trust_env`: whether the environment may choose the proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY,
    NO_PROXY) and the CA certificates (REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE). A service on this
    machine (localhost, 127.0.0.0/8, ::1, a name that resolves to loopback addresses only, the
    machine's own name) is always asked without a proxy. Passwords in ~/.netrc are
    never used, and redirects are never followed.

    Raises ValueError for a base_url or api_key that cannot be used. Every method raises
    EmotionError: see emotions.errors for the kinds.
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
        """Close its connections. Another request opens new ones."""
        self._transport.close()

    # ---------------------------------------------------------------- analyse

    def analyse(
        self,
        picture: "Picture",
        *,
        file_name: str | None = None,
        store: bool = True,
        idempotency_key: str | None = None,
        **options: Unpack[Options],
    ) -> Analysis:
        """Find the faces of an image and classify their emotions.

        `picture` is one of:

        - a path, the bytes of an image file, or an open binary file: sent unchanged.
        - a PIL image of any mode: its current frame, which is the first one unless you seek. It is
          turned as its EXIF orientation says, as PIL.ImageOps.exif_transpose does. After you turn
          the pixels yourself, remove the tag: PIL's rotate() and transpose() keep it.
        - an array: (height, width), (height, width, channels) or (channels, height, width) with 1
          (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA) channels, as bool, uint8, uint16, other
          integers in 0..255, or floats in 0..1 or 0..255. Red comes first; OpenCV's images are
          BGR: pass `image[..., ::-1]`.

        Boxes are in pixels of the upright image, for files as well as for PIL images. Its size is
        `width` and `height` of the result.

        `file_name` replaces the name of the file. Control characters and backslashes of names are
        stored as U+FFFD; `images(file_name=...)` finds them by either. `idempotency_key` is your
        own key for an image that you may send again after this program has ended; the service keeps
        keys for a day.

        Raises EmotionError: UnreadablePicture if the image cannot be read, NotAnImage (also a
        TypeError) for any other object, and otherwise the error that the service reports.
        """
        reply = self._post(picture, file_name, options, store=store, key=idempotency_key)
        return self._read(reply, self._analysis)

    def annotated(
        self,
        picture: "Picture",
        *,
        media_type: str = "image/png",
        file_name: str | None = None,
        store: bool = True,
        idempotency_key: str | None = None,
        **options: Unpack[Options],
    ) -> Annotated:
        """Return the upright image with boxes and labels, as `image/png` or `image/jpeg`.

        Takes the same images as `analyse`.
        """
        reply = self._post(
            picture, file_name, options, store=store, key=idempotency_key, accept=media_type
        )
        location = reply.headers.get("Location", "")
        number = location.rpartition("/")[2]
        return Annotated(
            data=reply.content,
            media_type=reply.headers.get("Content-Type", media_type),
            image_id=int(number) if number.isdecimal() else None,
        )

    def analyse_many(
        self, pictures: Iterable[Source], *, workers: int = 4, **options: Any
    ) -> Generator[Outcome[Source], None, None]:
        """Yield the result of each image, in their order. An image that fails does not stop the
        others. `workers` images are sent at a time. At most twice as many are taken from
        `pictures` before their results are taken, so `pictures` may be endless. Options are those
        of `analyse`."""

        def analyse(source: Source) -> Analysis:
            return self.analyse(source, **options)  # type: ignore[arg-type]

        return outcomes(analyse, pictures, workers=workers)

    # ---------------------------------------------------------------- read

    def image(self, image_id: int, *, threshold: float | None = None) -> Analysis:
        """One stored image."""
        params = given(view="full", threshold=threshold)
        return self._read(self._get(f"/v1/images/{image_id}", params), self._analysis)

    def picture(self, image_id: int) -> bytes:
        """The file of a stored image. Raises NotFound if the service does not keep image files."""
        return self._get(f"/v1/images/{image_id}/picture", {}).content

    def images(self, *, page_size: int = 100, **filters: Unpack[Filters]) -> Iterator[Analysis]:
        """Iterate over the stored images that match, newest first. Requests a page at a time."""
        return self._pages("images", given_filters(filters), page_size, self._analysis)

    def faces(self, *, page_size: int = 100, **filters: Unpack[Filters]) -> Iterator[FoundFace]:
        """Iterate over the faces of stored images that match, newest image first."""
        return self._pages("faces", given_filters(filters), page_size, FoundFace.read)

    def summary(self, by: str = "day", **filters: Unpack[Filters]) -> list[Span]:
        """Counts and means by `hour`, `day` (UTC) or `model`."""
        reply = self._get("/v1/summary", {"by": by, **given_filters(filters)})
        return self._read(reply, lambda it: [Span.read(span) for span in it["spans"]])

    def mood(
        self,
        image_id: int,
        aggregator: str | None = None,
        *,
        min_face_px: float = 0,
        min_confidence: float = 0,
    ) -> Mood:
        """The mood of the group in a stored image, by the service's default aggregator unless one
        is named. Faces that are smaller or have a lower detection score are left out."""
        params = given(
            aggregator=aggregator, min_face_px=min_face_px, min_confidence=min_confidence
        )
        return self._read(self._get(f"/v1/images/{image_id}/mood", params), Mood.read)

    def models(self) -> list[Model]:
        """Return the models that `model=` can name."""
        reply = self._get("/v1/models", {})
        return self._read(reply, lambda it: [Model.read(model) for model in it["models"]])

    def detectors(self) -> list[Detector]:
        """Return the face detectors that `detector=` can name."""
        reply = self._get("/v1/detectors", {})
        return self._read(reply, lambda it: [Detector.read(made) for made in it["detectors"]])

    def pipelines(self) -> list[Pipeline]:
        """Return the pipelines that `pipeline=` can name."""
        reply = self._get("/v1/pipelines", {})
        return self._read(reply, lambda it: [Pipeline.read(made) for made in it["pipelines"]])

    def aggregators(self) -> list[Aggregator]:
        """Return the aggregators that `mood=` and `mood()` can name."""
        reply = self._get("/v1/aggregators", {})
        return self._read(reply, lambda it: [Aggregator.read(made) for made in it["aggregators"]])

    # ---------------------------------------------------------------- erase

    def delete(self, image_id: int) -> None:
        """Erase a stored image and all that belongs to it."""
        try:
            self._transport.send("DELETE", f"/v1/images/{image_id}")
        except NotFound as error:
            # After a retry: the first answer may have been lost.
            if error.tries == 1:
                raise

    def delete_matching(self, **filters: Unpack[Filters]) -> int:
        """Erase all stored images that match, and return their number. Needs a filter."""
        reply = self._transport.send("DELETE", "/v1/images", params=given_filters(filters))
        return self._read(reply, lambda it: int(it["erased"]))

    # ---------------------------------------------------------------- inside

    def _post(
        self,
        picture: "Picture",
        file_name: str | None,
        options: Options,
        *,
        store: bool,
        key: str | None,
        accept: str = "application/json",
    ) -> Reply:
        key = uuid.uuid4().hex if key is None else checked_header_value("idempotency_key", key)
        name, data = read_picture(picture)
        name = sendable_name(file_name) if file_name else name
        return self._transport.send(
            "POST",
            "/v1/images",
            data=given(**options, store=store, view="full"),
            files={"image": (name, data)},
            headers={"Idempotency-Key": key, "Accept": accept},
        )

    def _get(self, path: str, params: dict[str, str]) -> Reply:
        return self._transport.send("GET", path, params=params)

    def _pages(
        self, what: str, filters: dict[str, str], size: int, read: Callable[[Any], T]
    ) -> Iterator[T]:
        params = {**filters, "view": "full", "page_size": str(size)}
        while True:
            reply = self._get(f"/v1/{what}", params)
            items, cursor = self._read(
                reply, lambda it: ([read(item) for item in it[what]], it["next_cursor"])
            )
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
            raise BadReply(f"the answer lacks or distorts {error}: is this the service?") from error
