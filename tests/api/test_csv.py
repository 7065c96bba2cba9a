"""CSV: no text becomes a formula, by one rule of service and client; and exports that break off."""

import csv
import inspect
import io
import itertools
import random
import sys

import pytest
import requests
from emotions import csv_cells as clients
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
    ("given", "safe"),
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
def test_no_cell_begins_with_a_formula(given, safe):
    assert without_formulas(given) == safe
    assert without_formulas(safe) == safe


def generated():
    """Texts of the characters that matter, all short ones and some long ones."""
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
    chance = random.Random(4)
    everything = [chr(number) for number in range(0x3200)] + characters * 50
    for _ in range(5_000):
        yield "".join(chance.choices(everything, k=chance.randrange(3, 12)))


def test_service_and_client_have_one_rule():
    texts = list(generated())
    assert [without_formulas(it) for it in texts] == [clients.without_formulas(it) for it in texts]
    rule, its = (
        inspect.getsource(module).partition('"""\n\n')[2] for module in (csv_cells, clients)
    )
    assert rule == its


def begins_a_formula(cell):
    """A judgement of its own: what is left when everything is stripped that may be skipped."""
    while cell and (cell[0].isspace() or not cell[0].isprintable() or cell[0] in '"\u3164'):
        cell = cell[1:]
    return cell[:1] in {*"=+-@", *"＝＋－＠"}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_however_a_line_is_split_no_cell_is_a_formula(separator):
    for given in generated():
        line = io.StringIO()
        csv.writer(line).writerow([1, without_formulas(given), "a"])
        for part in line.getvalue().replace("\r", "\n").split("\n"):
            assert not any(begins_a_formula(cell) for cell in part.split(separator)), repr(given)


def test_every_text_of_the_export_is_guarded_and_no_number(make_app):
    app = make_app()
    with app.app_context():
        saved = analysis(HAPPY, file_name="a;=1", detector="=2")
        queries.save(saved)
    lines = app.test_client().get("/v1/faces", headers=CSV).text.splitlines()
    (row,) = csv.DictReader(io.StringIO("\n".join(lines)))
    assert (row["file_name"], row["detector"]) == ("a;'=1", "'=2")
    assert row["x1"] == "10.0"


# ---------------------------------------------------------------- the stream


def numbers(found):
    return [(face.image.id, face.number) for face in found]


def test_what_is_there_all_the_while_is_exported_once(tmp_path, make_app):
    with make_app().app_context():
        # Several images of the same moment, so that pages end between them and within one.
        for minute in (0, 0, 0, 1, 1, 2):
            queries.save(analysis(HAPPY, ANGRY, minutes=minute))
        export = queries.all_faces(Filters(), batch=3)
        found = list(itertools.islice(export, 4))
        queries.erase(1)
        queries.save(analysis(HAPPY, minutes=5))
        queries.save(analysis(HAPPY, minutes=-5))
        found += export
        exported = numbers(found)
        assert len(exported) == len(set(exported))
        assert set(exported) >= {(image, number) for image in range(2, 7) for number in (1, 2)}


def test_between_two_pages_the_export_holds_no_transaction(make_app):
    app = make_app()
    with app.app_context():
        for _ in range(3):
            queries.save(analysis(HAPPY))
        export = queries.all_faces(Filters(), batch=1)
        next(export)
        assert db.engine.pool.checkedout() == 0
        assert not db.session().in_transaction()
        assert len(list(export)) == 2


def test_an_export_that_breaks_off_is_logged_and_raises(make_app, caplog):
    app = make_app()
    caplog.handler.addFilter(context := RequestContext())
    with app.app_context():
        for _ in range(3):
            queries.save(analysis(HAPPY))
        real = queries.page_of_faces

        def page(*arguments, cursor, **named):
            if cursor is not None:
                db.session.execute(text("SELECT * FROM a_table_that_is_gone"))
            return real(*arguments, cursor=cursor, **named | {"size": 1})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(queries, "page_of_faces", page)
            answer = app.test_client().get(
                "/v1/faces", headers=CSV | {"X-Request-ID": "sought"}, buffered=False
            )
            assert answer.status_code == 200
            parts = answer.iter_encoded()
            assert next(parts).startswith(b"image_id,")
            with pytest.raises(StoreUnavailable):
                list(parts)
    caplog.handler.removeFilter(context)
    (record,) = (it for it in caplog.records if "the CSV export broke off" in it.getMessage())
    assert record.request_id == "sought"
    assert "the CSV export broke off after 1 faces" in record.getMessage()


@pytest.mark.weights
def test_a_client_sees_that_an_export_broke_off(tmp_path, monkeypatch):
    """At the real server: the chunked encoding has no end."""
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
