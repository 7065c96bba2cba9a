"""CSV exports: escaping of formulas, in service and client alike, and interrupted exports."""

import csv
import inspect
import io
import itertools
import random
import sys

import pytest
import requests
from emotions import csv_cells as client_csv_cells
from sqlalchemy import text

from app.api import csv_cells
from app.api.csv_cells import FORMULA_STARTS, SEPARATORS, without_formulas
from app.errors import StoreUnavailable
from app.logs import RequestContext
from app.store import queries
from app.store.records import Filters
from app.store.tables import db
from testbed.service import running_service
from tests.store.test_queries import ANGRY, HAPPY, analysis

CSV = {"Accept": "text/csv"}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("photo.jpg", "photo.jpg"),
        ("IMG-2026+1 (50%) @home=a|b.jpg", "IMG-2026+1 (50%) @home=a|b.jpg"),
        ("a - b, c; d", "a - b, c; d"),
        ("", ""),
        ("=1+1", "'=1+1"),
        ("-2+3", "'-2+3"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("|calc", "'|calc"),
        ("%0A", "'%0A"),
        ("＝1+1", "'＝1+1"),
        ("＠SUM(1)", "'＠SUM(1)"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("﹦1", "'﹦1"),
        ("−1", "'−1"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\n=1", "'\n'=1"),
        ("\tplain", "'\tplain"),
        ("\u00a0=1", "'\u00a0=1"),
        ("\u200b=1", "'\u200b=1"),
        ("\ufeff\u2060\u00ad=1", "'\ufeff\u2060\u00ad=1"),
        ("\u202e=1", "'\u202e=1"),
        ("\ufe0f=1", "'\ufe0f=1"),
        ("\u3164=1", "'\u3164=1"),
        ("\0=1", "'\0=1"),
        ('"=1"', '\'"=1"'),
        ("a;=1+1", "a;'=1+1"),
        ("a,=1+1", "a,'=1+1"),
        ("a\t=1+1", "a\t'=1+1"),
        ("a|=1+1", "a|'=1+1"),
        ("a\n=1+1", "a\n'=1+1"),
        ("a\u2028=1+1", "a\u2028'=1+1"),
        ("a; ＝1+1", "a;' ＝1+1"),
        ('a;"=1+1"', 'a;\'"=1+1"'),
        ("a;=1;b;+2", "a;'=1;b;'+2"),
        (";;=1", ";;'=1"),
        ("'=1", "'=1"),
        ("1=1", "1=1"),
    ],
)
def test_without_formulas_escapes_formula_starts(text, escaped):
    assert without_formulas(text) == escaped
    assert without_formulas(escaped) == escaped


def generated_texts():
    """Yield all texts of up to two of the relevant characters, and random longer texts."""
    characters = [
        *FORMULA_STARTS,
        *SEPARATORS,
        *" \u00a0\u200b\ufeff\"'\0\u3164",
        "a",
        "1",
        "ü",
        "漢",
    ]
    for length in range(3):
        yield from map("".join, itertools.product(characters, repeat=length))
    generator = random.Random(4)
    all_characters = [chr(number) for number in range(0x3200)] + characters * 50
    for _ in range(5_000):
        yield "".join(generator.choices(all_characters, k=generator.randrange(3, 12)))


def test_service_and_client_escape_alike():
    for each in generated_texts():
        assert without_formulas(each) == client_csv_cells.without_formulas(each)
    service_code, client_code = (
        inspect.getsource(module).partition('"""\n\n')[2]
        for module in (csv_cells, client_csv_cells)
    )
    assert service_code == client_code


def begins_with_formula(cell):
    """Independent reference implementation: skip spaces, invisible characters and quotes."""
    while cell and (cell[0].isspace() or not cell[0].isprintable() or cell[0] in '"\u3164'):
        cell = cell[1:]
    return cell[:1] in {*"=+-@", *"＝＋－＠"}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_cell_is_a_formula_with_any_separator(separator):
    for each in generated_texts():
        line = io.StringIO()
        csv.writer(line).writerow([1, without_formulas(each), "a"])
        for part in line.getvalue().replace("\r", "\n").split("\n"):
            assert not any(begins_with_formula(cell) for cell in part.split(separator)), repr(each)


def test_export_escapes_texts_but_not_numbers(make_app):
    app = make_app()
    with app.app_context():
        queries.save(analysis(HAPPY, file_name="a;=1", detector="=2"))
    lines = app.test_client().get("/v1/faces", headers=CSV).text.splitlines()
    (row,) = csv.DictReader(io.StringIO("\n".join(lines)))
    assert (row["file_name"], row["detector"]) == ("a;'=1", "'=2")
    assert row["x1"] == "10.0"


# ---------------------------------------------------------------- streaming


def face_ids(faces):
    return [(face.image.id, face.number) for face in faces]


def test_unchanged_images_are_exported_exactly_once(tmp_path, make_app):
    with make_app().app_context():
        # Several images have the same time, so that pages end between them and within an image.
        for minute in (0, 0, 0, 1, 1, 2):
            queries.save(analysis(HAPPY, ANGRY, minutes=minute))
        export = queries.all_faces(Filters(), batch=3)
        faces = list(itertools.islice(export, 4))
        queries.erase(1)
        queries.save(analysis(HAPPY, minutes=5))
        queries.save(analysis(HAPPY, minutes=-5))
        faces += export
        exported = face_ids(faces)
        assert len(exported) == len(set(exported))
        assert set(exported) >= {(image, number) for image in range(2, 7) for number in (1, 2)}


def test_export_holds_no_transaction_between_pages(make_app):
    app = make_app()
    with app.app_context():
        for _ in range(3):
            queries.save(analysis(HAPPY))
        export = queries.all_faces(Filters(), batch=1)
        next(export)
        assert db.engine.pool.checkedout() == 0
        assert not db.session().in_transaction()
        assert len(list(export)) == 2


def test_failed_export_is_logged_and_raises(make_app, caplog):
    app = make_app()
    caplog.handler.addFilter(context := RequestContext())
    with app.app_context():
        for _ in range(3):
            queries.save(analysis(HAPPY))
        real = queries.page_of_faces

        def fail_at_second_page(*arguments, cursor, **options):
            if cursor is not None:
                db.session.execute(text("SELECT * FROM a_missing_table"))
            return real(*arguments, cursor=cursor, **options | {"size": 1})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(queries, "page_of_faces", fail_at_second_page)
            response = app.test_client().get(
                "/v1/faces", headers=CSV | {"X-Request-ID": "export-1"}, buffered=False
            )
            assert response.status_code == 200
            parts = response.iter_encoded()
            assert next(parts).startswith(b"image_id,")
            with pytest.raises(StoreUnavailable):
                list(parts)
    caplog.handler.removeFilter(context)
    (record,) = (each for each in caplog.records if "the CSV export failed" in each.getMessage())
    assert record.request_id == "export-1"
    assert "the CSV export failed after 1 faces" in record.getMessage()


@pytest.mark.weights
def test_client_detects_failed_export(tmp_path, monkeypatch):
    """The real server closes the connection before the last chunk."""
    (tmp_path / "breaking.py").write_text(
        "from wsgi import app\n"
        "from app.api import faces\n"
        "from app.errors import StoreUnavailable\n"
        "def lines(*_):\n"
        "    yield 'image_id\\r\\n'\n"
        "    raise StoreUnavailable('the database is away or not ready')\n"
        "faces.csv_lines = lines\n"
    )
    path = f"{tmp_path}:{':'.join(sys.path)}"
    with running_service(tmp_path, "breaking:app", PYTHONPATH=path) as url:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.get(f"{url}/v1/faces", headers=CSV, timeout=20)
        assert requests.get(f"{url}/v1/faces", timeout=20).status_code == 200
