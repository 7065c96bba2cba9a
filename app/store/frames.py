"""Reads the frames of a job in ascending order of time."""

from sqlalchemy import select

from app.store.reading import images_by_id
from app.store.tables import ImageRow, db
from app.store.transactions import read_transaction
from app.vision.types import Analysis


def page_of_frames(job_id: str, *, size: int, after: int | None = None) -> list[Analysis]:
    """Return at most `size` frames of a job with an index above `after`, in ascending order."""
    query = select(ImageRow.id).where(ImageRow.job_id == job_id).order_by(ImageRow.frame_index)
    if after is not None:
        query = query.where(ImageRow.frame_index > after)
    with read_transaction():
        ids = db.session.scalars(query.limit(size)).all()
        images = images_by_id(ids)
    return [images[image_id] for image_id in ids]
