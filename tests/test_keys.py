"""Keys: made once, known by their hash."""

import pytest

from app import keys as domain
from app.errors import NotFound, WrongKey
from app.keys import Doorkeeper, issue
from app.store import keys
from app.store.keys import Right
from app.store.tables import KeyRow, db


@pytest.fixture(autouse=True)
def _context(app):
    with app.app_context():
        yield


def test_the_secret_is_nowhere_in_the_database():
    secret = issue("phone", [Right.READ]).split("_", 2)[2]
    row = db.session.query(KeyRow).one()
    assert len(secret) == 43
    assert row.secret_hash.startswith("scrypt:4096:8:1$")
    assert secret not in str(vars(row))
    assert row.secret_hash not in repr(keys.find(row.id))


def test_two_keys_have_nothing_in_common():
    first, second = (issue("phone", [Right.READ]).split("_", 2) for _ in range(2))
    assert first[0] == second[0] == "emo"
    assert first[1] != second[1]
    assert first[2] != second[2]


def test_a_key_needs_a_right():
    with pytest.raises(ValueError, match="right"):
        issue("phone", [])
    assert keys.every() == []


def test_the_slow_hash_is_asked_once_and_again_only_for_what_is_wrong(monkeypatch):
    asked = []

    def check(*arguments):
        asked.append(arguments)
        return real(*arguments)

    real = domain.check_password_hash
    monkeypatch.setattr(domain, "check_password_hash", check)
    doorkeeper, key = Doorkeeper(), issue("phone", [Right.READ])
    assert {doorkeeper.identify(key).name for _ in range(3)} == {"phone"}
    assert len(asked) == 1
    for _ in range(2):
        with pytest.raises(WrongKey):
            doorkeeper.identify(key + "A")
    assert len(asked) == 3


def test_only_so_many_keys_are_remembered(monkeypatch):
    monkeypatch.setattr(domain, "MOST_REMEMBERED", 2)
    doorkeeper = Doorkeeper()
    for _ in range(4):
        doorkeeper.identify(issue("phone", [Right.READ]))
    assert len(doorkeeper._right_ones) == 2


def test_a_key_whose_hash_was_changed_is_checked_anew():
    doorkeeper, key = Doorkeeper(), issue("phone", [Right.READ])
    doorkeeper.identify(key)
    other = issue("other", [Right.READ])
    rows = {row.name: row for row in db.session.query(KeyRow)}
    rows["phone"].secret_hash = rows["other"].secret_hash
    db.session.commit()
    with pytest.raises(WrongKey):
        doorkeeper.identify(key)
    assert doorkeeper.identify(other).name == "other"


def test_what_is_not_there_cannot_be_revoked():
    with pytest.raises(NotFound):
        keys.revoke("nope")


def test_revoking_again_changes_nothing():
    key_id = issue("phone", [Right.READ]).split("_")[1]
    keys.revoke(key_id)
    first = keys.find(key_id).revoked_at
    keys.revoke(key_id)
    assert keys.find(key_id).revoked_at == first is not None
