"""The faces of many images, past the ORM, whose objects cost many times as much as the faces."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from sqlalchemy import select

from app.store.tables import EmotionRow, FaceRow, ImageRow, db
from app.vision.types import Box, Face, Scores

_IMAGE, _FACE, _EMOTION = (row.__table__ for row in (ImageRow, FaceRow, EmotionRow))
_OF_FACE = [_FACE.c[name] for name in ("number", "x1", "y1", "x2", "y2", "detection_score")]
_FACES = (
    select(_IMAGE.c.id, *_OF_FACE, _EMOTION.c.emotion, _EMOTION.c.probability)
    .outerjoin_from(_IMAGE, _FACE)
    .outerjoin(_EMOTION)
    .order_by(_IMAGE.c.id, _FACE.c.number, _EMOTION.c.position)
)


def faces_of(image_ids: Sequence[int]) -> Iterator[tuple[int, list[Face]]]:
    """Each image of these that there is, by its id, with its faces in their order: one statement.
    To be called within a snapshot."""
    rows = db.session.connection().execute(_FACES.where(_IMAGE.c.id.in_(image_ids))).all()
    for image_id, its in groupby(rows, itemgetter(0)):
        faces = []
        for (_, number, *corners, score), emotions in groupby(its, itemgetter(slice(7))):
            if number is not None:  # as it is where an image has no face
                faces.append(
                    Face(Box(*corners), Scores(dict(map(itemgetter(7, 8), emotions))), score)
                )
        yield image_id, faces
