"""`emotions live`: the camera with boxes, in a window."""

import click

from emotions.client import EmotionClient
from emotions.commands.numbers import Decimal, Whole
from emotions.commands.output import Failed, shown_emotions

LARGEST_CAMERA = 2**31 - 1  # of OpenCV's int


@click.command()
@click.option(
    "--camera",
    type=Whole(0, LARGEST_CAMERA),
    default=0,
    show_default=True,
    help="number of the camera",
)
@click.option("--pipeline", help="see `emotions pipelines`")
@click.option("--threshold", type=Decimal(0, 1), default=0.5, show_default=True)
@click.pass_obj
def live(client: EmotionClient, camera: int, pipeline: str | None, threshold: float) -> None:
    """Show the camera with boxes in a window. The key q ends it. Nothing is stored."""
    try:
        import cv2  # noqa: PLC0415 - OpenCV with windows is no part of the package
    except ImportError as error:
        raise Failed("this needs OpenCV with its windows: pip install opencv-python") from error
    video = cv2.VideoCapture(camera)
    try:
        if not video.isOpened():
            raise Failed(f"camera {camera} cannot be opened")
        while True:
            was_read, frame = video.read()
            if not was_read:
                raise Failed("the camera returns no more images")
            _, jpeg = cv2.imencode(".jpg", frame)
            found = client.analyse(jpeg.tobytes(), pipeline=pipeline, store=False)
            for face in found.faces:
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
            "this OpenCV has no windows: pip uninstall opencv-python-headless, "
            "then pip install opencv-python"
        ) from error
    finally:
        video.release()
