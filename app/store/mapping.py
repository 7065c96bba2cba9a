"""Converts an analysis to the values of rows, and rows to an analysis.

app.store.insertion inserts the values, and app.store.reading reads the rows. No other module
converts between the two.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from app.store.tables import FaceRow, ImageRow, PersonModelRow, PersonRow
from app.vision.types import (
    Analysis,
    Box,
    Dimensions,
    Face,
    Frame,
    ModelRef,
    Person,
    PersonModel,
    Scores,
)

Values = dict[str, Any]
BOX = ("x1", "y1", "x2", "y2")

IMAGE_COLUMNS = (
    *(column for column in ImageRow.__table__.c if not column.name.startswith("picture_")),
    PersonModelRow.name.label("person_model_name"),
    PersonModelRow.version.label("person_model_version"),
    PersonModelRow.sha256.label("person_model_sha256"),
    PersonModelRow.thresholds.label("person_model_thresholds"),
)
FACE_COLUMNS = tuple(FaceRow.__table__.c)
PERSON_COLUMNS = tuple(PersonRow.__table__.c)


# ---------------------------------------------------------------- to rows


def image_values(analysis: Analysis, person_model_id: int | None) -> Values:
    frame = analysis.frame
    return {
        "created_at": analysis.created_at,
        "file_name": analysis.file_name,
        "threshold": analysis.threshold,
        "width": analysis.width,
        "height": analysis.height,
        "face_count": len(analysis.faces),
        "model_name": analysis.model.name,
        "model_version": analysis.model.version,
        "model_sha256": analysis.model.sha256,
        "detector": analysis.detector,
        "dropped": dict(analysis.dropped),
        "timings_ms": dict(analysis.timings_ms),
        "rotation": analysis.rotation,
        "person_count": len(analysis.persons),
        "person_model_id": person_model_id,
        "category_threshold": analysis.category_threshold,
        "job_id": None if frame is None else frame.job_id,
        "frame_index": None if frame is None else frame.index,
        "position_ms": None if frame is None else frame.position_ms,
    }


def face_values(image_id: int, faces: Sequence[Face]) -> list[Values]:
    return [
        {
            "image_id": image_id,
            "number": number,
            **dict(zip(BOX, face.box.xyxy, strict=True)),
            "detection_score": face.detection_score,
            "dominant": face.dominant,
            "dominant_probability": face.emotions[face.dominant],
            "exclusive": face.emotions.exclusive,
            "track_id": face.track_id,
        }
        for number, face in enumerate(faces, start=1)
    ]


def emotion_values(face_ids: Sequence[int], faces: Sequence[Face]) -> list[Values]:
    return [
        {"face_id": face_id, "position": position, "emotion": emotion, "probability": probability}
        for face_id, face in zip(face_ids, faces, strict=True)
        for position, (emotion, probability) in enumerate(face.emotions.items())
    ]


def person_values(image_id: int, persons: Sequence[Person]) -> list[Values]:
    return [
        {
            "image_id": image_id,
            "number": number,
            **dict(zip(BOX, person.box.xyxy, strict=True)),
            "detection_score": person.detection_score,
            "face_number": None if person.face is None else person.face + 1,
            "track_id": person.track_id,
            "exclusive": person.categories.exclusive,
            "valence": person.dimensions.valence,
            "arousal": person.dimensions.arousal,
            "dominance": person.dimensions.dominance,
        }
        for number, person in enumerate(persons, start=1)
    ]


def category_values(
    person_ids: Sequence[int], persons: Sequence[Person], model: PersonModel | None
) -> list[Values]:
    return [
        {
            "person_id": person_id,
            "position": position,
            "category": category,
            "score": score,
            "shown": model is not None and model.shows(category, score),
        }
        for person_id, person in zip(person_ids, persons, strict=True)
        for position, (category, score) in enumerate(person.categories.items())
    ]


# ---------------------------------------------------------------- from rows


def analysis_from_row(
    row: Row[Any], faces: Sequence[Face] = (), persons: Sequence[Person] = ()
) -> Analysis:
    """Return the analysis of a row of IMAGE_COLUMNS."""
    return Analysis(
        id=row.id,
        created_at=row.created_at,
        file_name=row.file_name,
        threshold=row.threshold,
        width=row.width,
        height=row.height,
        faces=tuple(faces),
        model=ModelRef(row.model_name, row.model_version, row.model_sha256),
        detector=row.detector,
        dropped=row.dropped,
        timings_ms=row.timings_ms,
        rotation=row.rotation,
        persons=tuple(persons),
        person_model=_person_model(row),
        category_threshold=row.category_threshold,
        frame=_frame(row),
    )


def _person_model(row: Row[Any]) -> PersonModel | None:
    if row.person_model_name is None:
        return None
    ref = ModelRef(row.person_model_name, row.person_model_version, row.person_model_sha256)
    return PersonModel(ref, row.person_model_thresholds)


def _frame(row: Row[Any]) -> Frame | None:
    # A job can also store images that are not frames. They have no position.
    if row.position_ms is None:
        return None
    return Frame(row.job_id, row.position_ms, row.frame_index)


def face_from_row(row: Row[Any], emotions: Mapping[str, float]) -> Face:
    """Return the face of a row of FACE_COLUMNS."""
    return Face(
        box=Box(row.x1, row.y1, row.x2, row.y2),
        emotions=Scores(emotions, exclusive=row.exclusive),
        detection_score=row.detection_score,
        track_id=row.track_id,
    )


def person_from_row(row: Row[Any], categories: Mapping[str, float]) -> Person:
    """Return the person of a row of PERSON_COLUMNS."""
    return Person(
        box=Box(row.x1, row.y1, row.x2, row.y2),
        categories=Scores(categories, exclusive=row.exclusive),
        dimensions=Dimensions(row.valence, row.arousal, row.dominance),
        detection_score=row.detection_score,
        face=None if row.face_number is None else row.face_number - 1,
        track_id=row.track_id,
    )
