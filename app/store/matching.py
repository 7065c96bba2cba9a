"""Conditions for what filters ask for, such that a page seldom costs more where more is stored.

A page is read in the order of images until it is full. Where many match, that is soon; where few
do, it would be a walk through everything. So what few match is found by an index of its own and
then sorted, and only what many match is tested on the walk. The walk is long still where many match
and all of them are old, or two filters that many match hardly ever meet: about a second for each
million images that it passes. To be called within the snapshot of the query that the conditions are
for: they may have to look how many match.
"""

import operator
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, select

from app.store.records import Filters, normalized_name
from app.store.tables import EmotionRow, FaceRow, ImageRow, db

FEW = 5_000
HALF = 0.501  # the probabilities of a face add up to 1 within 0.001


def image_conditions(filters: Filters, *, at_hand: bool = False) -> list[ColumnElement[bool]]:
    """On images alone; `at_hand`: on those that another condition finds. Indexes of equal values
    are in the order of pages."""
    asked = (
        (ImageRow.file_name, _any_of, _equivalent_names(filters.file_name)),
        (ImageRow.model_name, operator.eq, filters.model),
        (ImageRow.created_at, operator.ge, filters.since),
        (ImageRow.created_at, operator.lt, filters.until),
    )
    conditions = _conditions(asked, at_hand=at_hand)
    if filters.min_faces is not None:
        found = select(ImageRow.id).where(ImageRow.face_count >= filters.min_faces)
        if _few(found):
            conditions.append(ImageRow.id.in_(found))
        else:
            conditions.append(without_index(ImageRow.face_count) >= filters.min_faces)
    return conditions


def found_images(filters: Filters) -> list[ColumnElement[bool]]:
    """On images, those of the matching faces where these are few; otherwise what is asked of faces
    is left open."""
    return [*image_conditions(filters), *_of_few_faces(filters)]


def matching_images(filters: Filters) -> list[ColumnElement[bool]]:
    """On images, one of whose faces must match what is asked of faces."""
    conditions = image_conditions(filters)
    if _found_faces(filters) is None:
        return conditions
    if of_few := _of_few_faces(filters):
        return [*conditions, *of_few]
    face = select(func.min(FaceRow.number)).where(FaceRow.image_id == ImageRow.id)
    face = face.where(*_tested(filters)).correlate(ImageRow)
    return [*conditions, face.scalar_subquery().is_not(None)]


def _of_few_faces(filters: Filters) -> list[ColumnElement[bool]]:
    """That an image is that of a matching face, where these are few; otherwise nothing."""
    if (found := _found_faces(filters)) is None or not _few(found):
        return []
    return [ImageRow.id.in_(select(FaceRow.image_id).where(FaceRow.id.in_(found)))]


def face_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """On faces, beside those on their images."""
    if (found := _found_faces(filters)) is None:
        return []
    return [FaceRow.id.in_(found)] if _few(found) else _tested(filters)


def _found_faces(filters: Filters) -> Select[Any] | None:
    """The ids of matching faces, by an index; None where nothing is asked of faces."""
    if filters.emotion is None and filters.min_probability is None:
        return None
    if _of_any_emotion(filters):
        return select(EmotionRow.face_id).where(
            EmotionRow.emotion == filters.emotion,
            EmotionRow.probability >= filters.min_probability,
        )
    return select(FaceRow.id).where(*_of_dominant(filters))


def _tested(filters: Filters) -> list[ColumnElement[bool]]:
    """The same, tested on a face that is at hand."""
    if not _of_any_emotion(filters):
        return _of_dominant(filters, at_hand=True)
    # As a value and not as EXISTS, which PostgreSQL might make a join with all emotions of.
    probability = select(EmotionRow.probability).where(
        EmotionRow.face_id == FaceRow.id, without_index(EmotionRow.emotion) == filters.emotion
    )
    return [probability.correlate(FaceRow).scalar_subquery() >= filters.min_probability]


def _of_any_emotion(filters: Filters) -> bool:
    """Whether a face may match by an emotion that is not its dominant one. What is more probable
    than all the others together is dominant, and the row of the face itself says so."""
    if filters.emotion is None or filters.min_probability is None:
        return False
    return filters.min_probability <= HALF


def _of_dominant(filters: Filters, *, at_hand: bool = False) -> list[ColumnElement[bool]]:
    asked = (
        (FaceRow.dominant, operator.eq, filters.emotion),
        (FaceRow.dominant_probability, operator.ge, filters.min_probability),
    )
    return _conditions(asked, at_hand=at_hand)


def _conditions(
    asked: Iterable[tuple[Any, Callable[[Any, Any], Any], Any]], *, at_hand: bool
) -> list[ColumnElement[bool]]:
    return [
        compare(without_index(column) if at_hand else column, value)
        for column, compare, value in asked
        if value is not None
    ]


def _equivalent_names(name: str | None) -> list[str] | None:
    """The forms in which `name` may be stored. New names are in form C. Older ones are stored as
    clients sent them: clients on macOS send form D. Most names have a single form."""
    if name is None:
        return None
    forms = (normalized_name(name), unicodedata.normalize("NFD", name), name)
    return list(dict.fromkeys(forms))


def _any_of(column: SQLColumnExpression[Any], values: list[str]) -> ColumnElement[bool]:
    return column == values[0] if len(values) == 1 else column.in_(values)


def _few(found: Select[Any]) -> bool:
    seen = select(func.count()).select_from(found.limit(FEW + 1).subquery())
    return (db.session.scalar(seen) or 0) <= FEW


def without_index(column: SQLColumnExpression[Any]) -> SQLColumnExpression[Any]:
    """The column as an expression that no index serves: databases, SQLite above all, would take the
    index for this condition and then sort, or look through it anew for every face."""
    return func.coalesce(column, column)
