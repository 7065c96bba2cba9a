"""`emotions live`, which shows the camera with boxes in a window."""

import click

from emotions.client import EmotionClient
from emotions.commands.numbers import Decimal, Whole
from emotions.commands.output import Failed, shown_emotions

MAX_CAMERA = 2**31 - 1  # OpenCV uses a 32-bit int


@click.command()
@click.option(
    "--camera",
    type=Whole(0, MAX_CAMERA),
    default=0,
    show_default=True,
    help="number of the camera",
)
@click.option("--pipeline", help="pipeline (see `emotions pipelines`)")
@click.option("--detector", help="face detector (see `emotions detectors`); default: the detector "
              "that the service recommends")  # fmt: skip
@click.option("--threshold", type=Decimal(0, 1), default=0.5, show_default=True,
              help="minimum probability of a shown emotion")  # fmt: skip
@click.pass_obj
def live(
    client: EmotionClient,
    camera: int,
    pipeline: str | None,
    detector: str | None,
    threshold: float,
) -> None:
    """Show the camera with boxes in a window. Press q to quit. Nothing is stored."""
    try:
        import cv2  # noqa: PLC0415 - OpenCV with GUI support is not a dependency
    except ImportError as error:
        raise Failed("OpenCV with GUI support is required: pip install opencv-python") from error
    video = cv2.VideoCapture(camera)
    try:
        if not video.isOpened():
            raise Failed(f"camera {camera} cannot be opened")
        while True:
            was_read, frame = video.read()
            if not was_read:
                raise Failed("the camera returned no image: check that it is still connected")
            _, jpeg = cv2.imencode(".jpg", frame)
            analysis = client.analyse(
                jpeg.tobytes(), pipeline=pipeline, detector=detector, store=False
            )
            for face in analysis.faces:
                x1, y1, x2, y2 = (round(value) for value in face.box_xyxy)
                label = ", ".join(
                    f"{name} {probability:.0%}"
                    for name, probability in shown_emotions(face, threshold).items()
                )
                cv2.rectangle(frame, (x1, y1), (x2, y2), (0, 159, 230), 2)
                cv2.putText(frame, label, (x1, max(16, y1 - 6)), cv2.FONT_HERSHEY_SIMPLEX, 0.6,
                            (255, 255, 255), 2)  # fmt: skip
            cv2.imshow("emotions", frame)
            if cv2.waitKey(1) & 0xFF == ord("q"):
                return
    except cv2.error as error:
        raise Failed(
            "this OpenCV has no GUI support: pip uninstall opencv-python-headless, "
            "then pip install opencv-python"
        ) from error
    finally:
        video.release()
