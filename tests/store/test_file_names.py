"""A stored name is found in any canonically equivalent form, on both databases."""

import unicodedata
from dataclasses import replace

import pytest

from app.store import queries
from app.store.records import Filters
from tests.store.test_queries import HAPPY, analysis

NAME = "un été à l'Ångström 각 \u202f.png"


@pytest.fixture
def database(database_app):
    return database_app


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_equivalent_names_are_one(database, stored, asked):
    kept = unicodedata.normalize(stored, NAME)
    queries.save(replace(analysis(HAPPY), file_name=kept))
    queries.save(replace(analysis(HAPPY), file_name="other.png"))
    filters = Filters(file_name=unicodedata.normalize(asked, NAME))
    page = queries.page_of_images(filters, size=5, cursor=None)
    assert [it.file_name for it in page.items] == [kept]
    assert queries.erase_matching(filters) == 1
