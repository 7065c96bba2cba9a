"""Queries for persons across images. Each function is one transaction, except `all_persons`, which
reads page by page."""

from collections.abc import Iterator

from app.store.matching import image_conditions, image_has_face
from app.store.paging import iterate_pages, part_keys, read_page
from app.store.person_matching import person_conditions
from app.store.reading import distinct_names, images_by_id, read_persons
from app.store.records import Filters, FoundPerson, Page
from app.store.tables import CategoryRow, PersonRow
from app.store.transactions import read_transaction


def page_of_persons(filters: Filters, *, size: int, cursor: str | None) -> Page[FoundPerson]:
    """Return a page of the persons that match, newest image first. Raises InvalidCursor."""
    query = part_keys(PersonRow, cursor)
    with read_transaction():
        query = query.where(
            *image_conditions(filters),
            *image_has_face(filters),
            *person_conditions(filters.persons),
        )
        keys = read_page(query, size)
        images = images_by_id([key.image_id for key in keys.items], whole=False)
        persons = read_persons(PersonRow.id.in_([key.id for key in keys.items]))
    items = [
        FoundPerson(images[key.image_id], key.number, persons[key.id].person) for key in keys.items
    ]
    return Page(items, keys.next_cursor)


def all_persons(filters: Filters, *, batch: int = 200) -> Iterator[FoundPerson]:
    """Yield every person that matches, newest image first. See `iterate_pages`."""
    return iterate_pages(lambda cursor: page_of_persons(filters, size=batch, cursor=cursor))


def category_names() -> list[str]:
    """Return the names of all stored categories, sorted."""
    with read_transaction():
        return distinct_names(CategoryRow.category)
