"""Compares the valence and arousal of faces with ratings of images and with labels of faces.

    python -m evaluation.valence --data ../shared/data
    python -m evaluation.valence --write        # docs/valence.md

OASIS has images with ratings of valence and arousal from 1 to 7, the means over about 100 people.
They say what a viewer feels, not what a face shows. The value of an image is the mean over its
faces, weighted by the areas of their boxes. ExpW's validation faces are used if two readers agree
on their label.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import EmotionError
from app.vision.circumplex import COORDINATES, affect_of
from app.vision.engine import Engine
from app.vision.request import AnalysisOptions, AnalysisRequest, ImageData
from app.vision.types import Box, Face, Scores
from evaluation.systems import CLASSIFIER, served_engine
from testbed.boxes import iou
from testbed.markdown import percent, table

PAGE = Path("docs/valence.md")
DETECTOR = "single_shot"
MIDDLE = 4.0  # of a rating from 1 to 7
MATCH_IOU = 0.3  # ExpW's boxes are loose
DRAWS = 2000
_HEAD = """\
# Valence and arousal

Made by `make evaluate-valence`; do not edit. `valence` (unpleasant to pleasant) and `arousal` (calm
to excited) of a face are from −1 to 1: the mean of the coordinates below, weighted by the
probabilities of the emotions. They are computed from the stored distribution, so images that were
stored before this version have them too. In `GET /v1/summary` they are means over faces. Faces of a
model with an emotion that is not in the table have none (null).

The `valence` of a group's [mood](mood.md) is different: the shares of the mood's distribution that
are positive, neutral and negative.

{coordinates}

The coordinates are the mean ratings of pleasure and arousal of the terms happy, surprised, sad,
angry, disgust, fearful and contempt by Russell and Mehrabian (1977, Evidence for a three-factor
theory of emotions, Journal of Research in Personality 11, 273–294, table 4). They did not rate
"neutral", which is the origin here.

All figures are of faces that `{detector}` finds and `{model}` classifies.
"""
_OASIS = """\
## Ratings of images

Of {images} images of OASIS (Kurdi, Lozano and Banaji 2017), {shown} show a face to the detector.
The rating is what viewers feel, and a smiling face is only one reason to feel good, so a perfect
reader of faces would not reach a correlation of 1 either. The value of an image is the mean over
its faces, weighted by their areas. Intervals are 95 %, bootstrap over images: one that includes 0
shows no relation.
"""
_SIGNS = """\
The rows are images by the most probable emotion of their faces together. "Same sign" is the share
of images in which valence and the rating minus {middle:.0f}, the middle of its scale, have the
same sign. Neutral faces have a valence near 0, whose sign says little.
"""
_EXPW = """\
## Labelled faces

Of {faces} faces of ExpW's validation split, {found} are found. The labels were made by two readers
that agree; both are vision-language models, not people. The last two columns are the coordinates of
the label.
"""


@dataclass(frozen=True, slots=True)
class Rated:
    """An image with faces: its category, what viewers feel (1 to 7), and what its faces show."""

    category: str
    ratings: tuple[float, float]
    affect: tuple[float, float]
    dominant: str


def affect_of_image(faces: Sequence[Face]) -> tuple[tuple[float, float], str]:
    """Valence and arousal over the faces of an image, weighted by area, and the emotion that is
    the most probable of their distributions together. Raises ValueError without faces."""
    areas = np.array([face.box.area for face in faces])
    labels = list(faces[0].emotions)
    rows = np.array([[face.emotions[label] for label in labels] for face in faces])
    together = areas @ rows / areas.sum()
    affect = affect_of(Scores(dict(zip(labels, together.tolist(), strict=True))))
    if affect is None:
        raise ValueError(f"the model knows an emotion without coordinates: {labels}")
    return (affect.valence, affect.arousal), labels[int(together.argmax())]


def read_rated(oasis: Path, engine: Engine) -> tuple[list[Rated], int]:
    """The images of OASIS that show a face, and how many there are in all."""
    rated, images = [], 0
    for row in _rows(oasis / "ratings.csv"):
        images += 1
        if faces := _faces(engine, oasis / row["image"]):
            affect, dominant = affect_of_image(faces)
            ratings = float(row["valence_mean"]), float(row["arousal_mean"])
            rated.append(Rated(row["category"], ratings, affect, dominant))
    return rated, images


def read_labelled(expw: Path, engine: Engine) -> tuple[dict[str, list[Face]], int]:
    """The faces of ExpW's validation split that are found, by label, and how many there are in
    all."""
    found: dict[str, list[Face]] = {}
    count = 0
    for row in _rows(expw / "faces.csv"):
        label = row["reader1"]
        if row["split"] != "val" or label not in COORDINATES or label != row["reader2"]:
            continue
        count += 1
        box = Box(*(float(row[name]) for name in ("x1", "y1", "x2", "y2")))
        faces = _faces(engine, expw / row["image"])
        best = max(faces, key=lambda face: iou(face.box, box), default=None)
        if best is not None and iou(best.box, box) >= MATCH_IOU:
            found.setdefault(label, []).append(best)
    return found, count


def _faces(engine: Engine, path: Path) -> tuple[Face, ...]:
    image = ImageData(path.read_bytes(), "image")
    return engine.analyse(AnalysisRequest(image, AnalysisOptions(detector=DETECTOR))).faces


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def correlation(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Pearson's r of two variables (n,) and its 95 % interval, bootstrap over cases."""
    generator = np.random.default_rng(0)
    draws = generator.integers(0, len(first), (DRAWS, len(first)))
    # A draw of equal values has no correlation.
    with np.errstate(invalid="ignore", divide="ignore"):
        values = [np.corrcoef(first[draw], second[draw])[0, 1] for draw in draws]
        low, high = np.nanpercentile(values, [2.5, 97.5])
        return float(np.corrcoef(first, second)[0, 1]), float(low), float(high)


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ranks (n,) of values, for Spearman's correlation. Equal values have the same rank."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts + 1) / 2)[index], dtype=np.float64)


def correlations(rated: Sequence[Rated]) -> str:
    """A table with rows for all images and for those of persons, for valence and for arousal."""
    rows = []
    for name, chosen in (
        ("all with a face", list(rated)),
        ("category Person", [each for each in rated if each.category == "Person"]),
    ):
        for axis, what in enumerate(("valence", "arousal")):
            values = np.array([each.affect[axis] for each in chosen])
            ratings = np.array([each.ratings[axis] for each in chosen])
            r, low, high = correlation(values, ratings)
            rho, _, _ = correlation(ranks(values), ranks(ratings))
            interval = f"{_signed(r)} ({_signed(low)} to {_signed(high)})"
            rows.append([name, str(len(chosen)), what, interval, _signed(rho)])
    return table(["images", "n", "of", "Pearson's r", "Spearman's ρ"], rows)


def signs(rated: Sequence[Rated]) -> str:
    """A table with a row per emotion: means, and how often valence and rating agree in sign."""
    rows = []
    for emotion in COORDINATES:
        chosen = [each for each in rated if each.dominant == emotion]
        if not chosen:
            continue
        same = np.mean([each.affect[0] * (each.ratings[0] - MIDDLE) > 0 for each in chosen])
        rows.append(
            [
                emotion,
                str(len(chosen)),
                _signed(float(np.mean([each.affect[0] for each in chosen]))),
                f"{np.mean([each.ratings[0] for each in chosen]):.2f}",
                percent(float(same)),
            ]
        )
    return table(["emotion", "images", "mean valence", "mean rating (1–7)", "same sign"], rows)


def means_by_label(labelled: dict[str, list[Face]]) -> str:
    """A table with a row per label: the means of its faces, and the coordinates of the label."""
    rows = []
    for label, coordinates in COORDINATES.items():
        faces = labelled.get(label, [])
        affects = [affect for face in faces if (affect := affect_of(face.emotions))]
        if affects:
            valence, arousal = np.mean(affects, axis=0)
            rows.append([label, str(len(affects)), *map(_signed, (valence, arousal, *coordinates))])
    head = ["label", "faces", "mean valence", "mean arousal"]
    return table([*head, "valence of the label", "arousal of the label"], rows)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−").replace("+0.00", "0.00").replace("−0.00", "0.00")


def report(rated: Sequence[Rated], images: int, labelled: dict[str, list[Face]], faces: int) -> str:
    """The text of docs/valence.md."""
    coordinates = [[name, *map(_signed, its)] for name, its in COORDINATES.items()]
    found = sum(map(len, labelled.values()))
    return "\n".join(
        [
            _HEAD.format(
                coordinates=table(["emotion", "valence", "arousal"], coordinates),
                detector=DETECTOR,
                model=CLASSIFIER,
            ),
            _OASIS.format(images=images, shown=len(rated)),
            correlations(rated),
            "",
            _SIGNS.format(middle=MIDDLE),
            signs(rated),
            "",
            _EXPW.format(faces=faces, found=found),
            means_by_label(labelled),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--write", action="store_true", help=str(PAGE))
    arguments = parser.parse_args()
    engine = served_engine(arguments.models_dir)
    try:
        rated, images = read_rated(arguments.data / "oasis", engine)
        labelled, faces = read_labelled(arguments.data / "expw", engine)
    except (EmotionError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    text = report(rated, images, labelled, faces)
    print(text)
    if arguments.write:
        PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
