"""Builds the conditions of filters on images and faces.

app.store.planning explains why a filter has two forms of its condition. app.store.person_matching
builds the conditions on persons. Call all functions within the transaction of the query that uses
the conditions.
"""

import operator
import unicodedata
from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, select

from app.store.person_matching import image_has_person
from app.store.planning import Comparison, comparisons, has_few_rows, without_index
from app.store.records import Filters, normalized_name
from app.store.tables import EmotionRow, FaceRow, ImageRow, db

# Exclusive scores sum to 1 within 0.001, so at most one of them exceeds HALF.
HALF = 0.501


def image_conditions(filters: Filters, *, index: bool = True) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters on images.

    The indexes on file names and models end with (created_at, id), the sort order of pages.
    With `index=False`, no condition uses an index, because a different condition of the query finds
    the images.
    """
    criteria = (
        (ImageRow.file_name, _any_of, _equivalent_names(filters.file_name)),
        (ImageRow.model_name, operator.eq, filters.model),
        (ImageRow.created_at, operator.ge, filters.since),
        (ImageRow.created_at, operator.lt, filters.until),
    )
    conditions = comparisons(criteria, index=index)
    if filters.min_faces is not None:
        found = select(ImageRow.id).where(ImageRow.face_count >= filters.min_faces)
        if has_few_rows(found):
            conditions.append(ImageRow.id.in_(found))
        else:
            conditions.append(without_index(ImageRow.face_count) >= filters.min_faces)
    return conditions


def matching_images(filters: Filters) -> list[ColumnElement[bool]]:
    """Return image conditions for all filters. One face and one person must match."""
    return [
        *image_conditions(filters),
        *image_has_face(filters),
        *image_has_person(filters.persons),
    ]


def image_has_face(filters: Filters) -> list[ColumnElement[bool]]:
    """Return image conditions for the face filters. One face must match."""
    if not filters.has_face_filter:
        return []
    if conditions := image_has_found_face(filters):
        return conditions
    # A scalar subquery, because PostgreSQL may turn EXISTS into a join with all faces.
    face = select(func.min(FaceRow.number)).where(FaceRow.image_id == ImageRow.id)
    face = face.where(*_tested_faces(filters)).correlate(ImageRow)
    return [face.scalar_subquery().is_not(None)]


def image_has_found_face(filters: Filters) -> list[ColumnElement[bool]]:
    """Return the condition that an image has a matching face, or [] if many faces match.

    The condition finds the faces with an index: see app.store.planning.
    """
    if not filters.has_face_filter or not has_few_rows(found := _found_faces(filters)):
        return []
    return [ImageRow.id.in_(select(FaceRow.image_id).where(FaceRow.id.in_(found)))]


def face_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Return conditions on the rows of `faces` for the face filters."""
    if not filters.has_face_filter:
        return []
    if has_few_rows(found := _found_faces(filters)):
        return [FaceRow.id.in_(found)]
    return _tested_faces(filters)


def _found_faces(filters: Filters) -> Select[Any]:
    """Select the ids of the matching faces with an index."""
    if _needs_all_emotions(filters):
        return select(EmotionRow.face_id).where(
            EmotionRow.emotion == filters.emotion,
            EmotionRow.probability >= filters.min_probability,
        )
    return select(FaceRow.id).where(*comparisons(_dominant(filters), index=True))


def _tested_faces(filters: Filters) -> list[ColumnElement[bool]]:
    """Return conditions that test a face without an index."""
    if not _needs_all_emotions(filters):
        return comparisons(_dominant(filters), index=False)
    # A scalar subquery, because PostgreSQL may turn EXISTS into a join with all emotions.
    probability = select(EmotionRow.probability).where(
        EmotionRow.face_id == FaceRow.id, without_index(EmotionRow.emotion) == filters.emotion
    )
    return [probability.correlate(FaceRow).scalar_subquery() >= filters.min_probability]


def _needs_all_emotions(filters: Filters) -> bool:
    """Return whether a face may match by an emotion that is not its dominant one.

    An exclusive score above one half belongs to the dominant emotion, which the row of the face
    holds. Several independent scores can be above one half. Therefore, if the store has a face with
    independent scores, the condition must use the rows of all emotions.
    """
    if filters.emotion is None or filters.min_probability is None:
        return False
    return filters.min_probability <= HALF or _has_independent_scores()


def _has_independent_scores() -> bool:
    return db.session.scalar(select(FaceRow.id).where(~FaceRow.exclusive).limit(1)) is not None


def _dominant(filters: Filters) -> tuple[Comparison, ...]:
    return (
        (FaceRow.dominant, operator.eq, filters.emotion),
        (FaceRow.dominant_probability, operator.ge, filters.min_probability),
    )


def _equivalent_names(name: str | None) -> list[str] | None:
    """Return the Unicode forms in which `name` may be stored.

    New names are in form C. Older names are stored as clients sent them, and macOS sends form D.
    """
    if name is None:
        return None
    forms = (normalized_name(name), unicodedata.normalize("NFD", name), name)
    return list(dict.fromkeys(forms))


def _any_of(column: SQLColumnExpression[Any], values: list[str]) -> ColumnElement[bool]:
    return column == values[0] if len(values) == 1 else column.in_(values)
