"""Pages of images, faces and persons, newest image first, each from a cursor on."""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Select, select, tuple_

from app.store.connections import renew_deadline
from app.store.cursor import decode_cursor, encode_cursor
from app.store.records import Item, Page
from app.store.tables import FaceRow, ImageRow, PersonRow, db


def image_keys(cursor: str | None) -> Select[*tuple[Any, ...]]:
    """The query for (created_at, id) of the images after `cursor`, in the order of pages. Raises
    InvalidCursor."""
    key = (ImageRow.created_at, ImageRow.id)
    query: Select[*tuple[Any, ...]] = select(*key).order_by(*(column.desc() for column in key))
    if cursor is not None:
        query = query.where(tuple_(*key) < tuple_(*decode_cursor(cursor, len(key))))
    return query


def part_keys(part: type[FaceRow | PersonRow], cursor: str | None) -> Select[*tuple[Any, ...]]:
    """The query for (created_at, image_id, number, id) of the faces or persons after `cursor`, in
    the order of pages. Raises InvalidCursor."""
    query: Select[*tuple[Any, ...]] = (
        select(ImageRow.created_at, ImageRow.id.label("image_id"), part.number, part.id)
        .join(part, part.image_id == ImageRow.id)
        .order_by(ImageRow.created_at.desc(), ImageRow.id.desc(), part.number)
    )
    if cursor is not None:
        created_at, image_id, number = decode_cursor(cursor, 3)
        position, reached = tuple_(ImageRow.created_at, ImageRow.id), tuple_(created_at, image_id)
        query = query.where(
            position <= reached,  # follows from the next condition, but is a range of the index
            # Images descend and the numbers within one ascend, hence the two cases.
            (position < reached) | ((ImageRow.id == image_id) & (part.number > number)),
        )
    return query


def read_page(query: Select[*tuple[Any, ...]], size: int) -> Page[Any]:
    """The first `size` rows of a query for keys. All columns but `id` of parts are the cursor."""
    rows = db.session.connection().execute(query.limit(size + 1)).all()
    following = encode_cursor(*rows[size - 1][:3]) if len(rows) > size else None
    return Page(list(rows[:size]), following)


def every_item(page: Callable[[str | None], Page[Item]]) -> Iterator[Item]:
    """Every item of all pages, in constant memory; `page` returns the page after a cursor.

    Each page is a transaction of its own that ends before its items are yielded, so a slow reader
    does not delay erasures or maintenance. An item that is stored during the whole iteration
    appears exactly once; an item that is saved or erased meanwhile may be missing.
    """
    cursor = None
    while True:
        renew_deadline()  # for each page: all pages may take longer than a request
        found = page(cursor)
        yield from found.items
        if (cursor := found.next_cursor) is None:
            return
