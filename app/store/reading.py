"""Reads images with their faces and persons.

The number of statements does not depend on the number of images. The statements bypass the ORM,
because its objects take many times as long as the rows. Call all functions within a transaction, so
that their statements see the same state of the database.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, SQLColumnExpression, func, select

from app.store.mapping import (
    FACE_COLUMNS,
    IMAGE_COLUMNS,
    PERSON_COLUMNS,
    analysis_from_row,
    face_from_row,
    person_from_row,
)
from app.store.tables import (
    CategoryRow,
    EmotionRow,
    FaceRow,
    ImageRow,
    PersonModelRow,
    PersonRow,
    db,
)
from app.vision.types import Analysis, Face, Person


class StoredFace(NamedTuple):
    image_id: int
    number: int
    face: Face


class StoredPerson(NamedTuple):
    image_id: int
    number: int
    person: Person


def images_by_id(image_ids: Sequence[int], *, whole: bool = True) -> dict[int, Analysis]:
    """Return the images that exist, by id. Without `whole`, they have no faces and persons."""
    query = select(*IMAGE_COLUMNS).outerjoin_from(
        ImageRow, PersonModelRow, PersonModelRow.id == ImageRow.person_model_id
    )
    rows = _rows(query.where(ImageRow.id.in_(image_ids)))
    if not whole:
        return {row.id: analysis_from_row(row) for row in rows}
    faces = faces_by_image([row.id for row in rows if row.face_count])
    persons = persons_by_image([row.id for row in rows if row.person_count])
    return {row.id: analysis_from_row(row, faces[row.id], persons[row.id]) for row in rows}


def faces_by_image(image_ids: Sequence[int]) -> defaultdict[int, list[Face]]:
    """Return the faces of each image, in their order."""
    faces: defaultdict[int, list[Face]] = defaultdict(list)
    if image_ids:
        for stored in read_faces(FaceRow.image_id.in_(image_ids)).values():
            faces[stored.image_id].append(stored.face)
    return faces


def persons_by_image(image_ids: Sequence[int]) -> defaultdict[int, list[Person]]:
    """Return the persons of each image, in their order."""
    persons: defaultdict[int, list[Person]] = defaultdict(list)
    if image_ids:
        for stored in read_persons(PersonRow.image_id.in_(image_ids)).values():
            persons[stored.image_id].append(stored.person)
    return persons


def read_faces(condition: ColumnElement[bool]) -> dict[int, StoredFace]:
    """Return the faces that meet a condition on `faces`, by the id of their row.

    They are in the order of image and number.
    """
    rows = _rows(select(*FACE_COLUMNS).where(condition).order_by(FaceRow.image_id, FaceRow.number))
    scores = select(EmotionRow.face_id, EmotionRow.emotion, EmotionRow.probability)
    scores = scores.join(FaceRow, FaceRow.id == EmotionRow.face_id).where(condition)
    emotions = _scores(scores.order_by(EmotionRow.face_id, EmotionRow.position))
    return {
        row.id: StoredFace(row.image_id, row.number, face_from_row(row, emotions[row.id]))
        for row in rows
    }


def read_persons(condition: ColumnElement[bool]) -> dict[int, StoredPerson]:
    """Return the persons that meet a condition on `persons`, by the id of their row.

    They are in the order of image and number.
    """
    rows = _rows(
        select(*PERSON_COLUMNS).where(condition).order_by(PersonRow.image_id, PersonRow.number)
    )
    scores = select(CategoryRow.person_id, CategoryRow.category, CategoryRow.score)
    scores = scores.join(PersonRow, PersonRow.id == CategoryRow.person_id).where(condition)
    categories = _scores(scores.order_by(CategoryRow.person_id, CategoryRow.position))
    return {
        row.id: StoredPerson(row.image_id, row.number, person_from_row(row, categories[row.id]))
        for row in rows
    }


def _scores(query: Any) -> defaultdict[int, dict[str, float]]:
    """Return the scores by owner and label. The rows hold the id of the owner, label and score."""
    scores: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for owner_id, label, score in _rows(query):
        scores[owner_id][label] = score
    return scores


def _rows(query: Any) -> Sequence[Any]:
    return db.session.connection().execute(query).all()


def distinct_names(column: SQLColumnExpression[str]) -> list[str]:
    """Return the distinct values of an indexed column, sorted.

    Each query finds the next value in the index, so the cost depends on the number of values only.
    """
    names: list[str] = []
    query = select(func.min(column))
    while name := db.session.scalar(query.where(column > names[-1]) if names else query):
        names.append(name)
    return names
