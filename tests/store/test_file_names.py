"""Filters find a file name in any canonically equivalent form, on both databases."""

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
@pytest.mark.parametrize("requested", ["NFC", "NFD"])
def test_filter_finds_canonically_equivalent_names(database, stored, requested):
    stored_name = unicodedata.normalize(stored, NAME)
    queries.save(replace(analysis(HAPPY), file_name=stored_name))
    queries.save(replace(analysis(HAPPY), file_name="other.png"))
    filters = Filters(file_name=unicodedata.normalize(requested, NAME))
    page = queries.page_of_images(filters, size=5, cursor=None)
    assert [image.file_name for image in page.items] == [stored_name]
    assert queries.erase_matching(filters) == 1
