"""Reads pages of images, faces and persons in descending order of the images' times."""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Select, select, tuple_

from app.store.connections import renew_deadline
from app.store.cursor import decode_cursor, encode_cursor
from app.store.records import Item, Page
from app.store.tables import FaceRow, ImageRow, PersonRow, db


def image_keys(cursor: str | None) -> Select[*tuple[Any, ...]]:
    """Return the query for (created_at, id) of the images after `cursor`, in the order of pages.

    Raises InvalidCursor.
    """
    key = (ImageRow.created_at, ImageRow.id)
    query: Select[*tuple[Any, ...]] = select(*key).order_by(*(column.desc() for column in key))
    if cursor is not None:
        query = query.where(tuple_(*key) < tuple_(*decode_cursor(cursor, len(key))))
    return query


def part_keys(part: type[FaceRow | PersonRow], cursor: str | None) -> Select[*tuple[Any, ...]]:
    """Return the query for the keys of faces or persons after `cursor`, in the order of pages.

    `part` is FaceRow or PersonRow. The columns are created_at, image_id, number and id. Raises
    InvalidCursor.
    """
    query: Select[*tuple[Any, ...]] = (
        select(ImageRow.created_at, ImageRow.id.label("image_id"), part.number, part.id)
        .join(part, part.image_id == ImageRow.id)
        .order_by(ImageRow.created_at.desc(), ImageRow.id.desc(), part.number)
    )
    if cursor is not None:
        created_at, image_id, number = decode_cursor(cursor, 3)
        position, reached = tuple_(ImageRow.created_at, ImageRow.id), tuple_(created_at, image_id)
        query = query.where(
            position <= reached,  # redundant, but lets the database read a range of the index
            # Images are in descending order, the numbers within an image in ascending order.
            (position < reached) | ((ImageRow.id == image_id) & (part.number > number)),
        )
    return query


def read_page(query: Select[*tuple[Any, ...]], size: int) -> Page[Any]:
    """Return the first `size` rows of a query for keys. The cursor holds their first columns."""
    rows = db.session.connection().execute(query.limit(size + 1)).all()
    next_cursor = encode_cursor(*rows[size - 1][:3]) if len(rows) > size else None
    return Page(list(rows[:size]), next_cursor)


def iterate_pages(page: Callable[[str | None], Page[Item]]) -> Iterator[Item]:
    """Yield every item of all pages, in constant memory. `page` returns the page after a cursor.

    Each page has its own transaction, which ends before its items are yielded. A slow consumer
    therefore does not delay erasures or maintenance. An item that is stored during the whole
    iteration appears exactly once. An item that is saved or erased during the iteration may be
    missing.
    """
    cursor = None
    while True:
        renew_deadline()  # all pages together may take longer than a request
        found = page(cursor)
        yield from found.items
        if (cursor := found.next_cursor) is None:
            return
