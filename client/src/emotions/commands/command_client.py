"""The client of the commands, which uses the detector that the service recommends."""

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from emotions.client import EmotionClient
from emotions.parameters import Options
from emotions.transport import Reply

if TYPE_CHECKING:
    from emotions.sources import ImageSource


class CommandClient(EmotionClient):
    """An EmotionClient that sends images with the recommended detector if no detector is chosen.

    It asks the service for the recommendation before the first image. Concurrent requests share one
    answer or error. After an error, the next image asks again.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lock = threading.Lock()
        self._recommended: dict[str | None, Future[str | None]] = {}  # by the option `pipeline`

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
        if options.get("detector") is None:
            options = {**options, "detector": self._detector(options.get("pipeline"))}
        return super()._post(image, file_name, options, store=store, key=key, accept=accept)

    def _detector(self, pipeline: str | None) -> str | None:
        with self._lock:
            is_known = pipeline in self._recommended
            answer = self._recommended.setdefault(pipeline, Future())
        if not is_known:
            try:
                answer.set_result(self._ask(pipeline))
            except BaseException as error:
                with self._lock:
                    del self._recommended[pipeline]
                answer.set_exception(error)
        return answer.result()

    def _ask(self, pipeline: str | None) -> str | None:
        """Return the recommended detector. Returns None if requests without a detector use it
        anyway, if it is not ready, and for pipelines that take no detector."""
        for detector in self.detectors():
            if detector.recommended and detector.ready and not detector.default:
                break
        else:
            return None
        takes_detector = any(
            each.takes_detector
            for each in self.pipelines()
            if (each.default if pipeline is None else each.name == pipeline)
        )
        return detector.name if takes_detector else None
