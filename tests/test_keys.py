"""API keys: creation, verification, limits on wrong keys, revocation."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import attempts
from app import keys as domain
from app.attempts import FailedAttempts
from app.errors import NotFound, TooManyRequests, WrongKey
from app.keys import KeyVerifier, issue, revoke
from app.store import keys
from app.store.keys import Right
from app.store.tables import KeyRow, db


@pytest.fixture(autouse=True)
def _context(app):
    with app.app_context():
        yield


def test_database_does_not_contain_the_secret():
    secret = issue("phone", [Right.READ]).split("_", 2)[2]
    row = db.session.query(KeyRow).one()
    assert len(secret) == 43
    assert row.secret_hash.startswith("scrypt:4096:8:1$")
    assert secret not in str(vars(row))
    assert row.secret_hash not in repr(keys.find(row.id))


def test_two_keys_share_only_the_prefix():
    first, second = (issue("phone", [Right.READ]).split("_", 2) for _ in range(2))
    assert first[0] == second[0] == "emo"
    assert first[1] != second[1]
    assert first[2] != second[2]


def test_issue_raises_value_error_without_rights():
    with pytest.raises(ValueError, match="right"):
        issue("phone", [])
    assert keys.find_all() == []


HOME, STRANGER = "192.0.2.1", "198.51.100.7"


def wrong(key):
    return key[:-1] + ("A" if key[-1] != "A" else "B")


@pytest.fixture
def hashed(monkeypatch):
    """The secrets whose hash was computed."""
    secrets = []

    def check(secret_hash, secret):
        secrets.append(secret)
        return original(secret_hash, secret)

    original = domain.check_password_hash
    monkeypatch.setattr(domain, "check_password_hash", check)
    return secrets


def test_identify_hashes_a_valid_key_once_and_a_wrong_key_each_time(hashed):
    verifier, key = KeyVerifier(), issue("phone", [Right.READ])
    assert {verifier.identify(key, HOME).name for _ in range(3)} == {"phone"}
    assert len(hashed) == 1
    for _ in range(2):
        with pytest.raises(WrongKey):
            verifier.identify(wrong(key), HOME)
    assert len(hashed) == 3


def test_unknown_ids_and_wrong_secrets_cause_the_same_work_and_message(hashed):
    verifier, key = KeyVerifier(), issue("phone", [Right.READ])
    unknown = f"emo_{'0' * 12}_{key.split('_', 2)[2]}"
    messages = []
    for api_key in (wrong(key), unknown):
        with pytest.raises(WrongKey) as caught:
            verifier.identify(api_key, HOME)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert len(hashed) == 2


@pytest.mark.parametrize("text", ["emo_a_b", "emo__", "x", "emo_\x00_", "emo_ü_ü", "a" * 8000])
def test_malformed_keys_are_neither_hashed_nor_looked_up(hashed, monkeypatch, text):
    monkeypatch.setattr(keys, "find", lambda _: pytest.fail("looked up"))
    with pytest.raises(WrongKey):
        KeyVerifier().identify(text, HOME)
    assert hashed == []


def test_parallel_first_requests_with_a_key_compute_one_hash(app, hashed):
    key = issue("phone", [Right.READ])
    verifier = KeyVerifier(FailedAttempts(3, 60))

    def identify(_):
        with app.app_context():
            return verifier.identify(key, HOME).name

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(identify, range(16))) == {"phone"}
    assert len(hashed) == 1


@pytest.fixture
def limited():
    return KeyVerifier(FailedAttempts(3, 60))


def exhaust(verifier, api_key, address, times=3):
    for _ in range(times):
        with pytest.raises(WrongKey):
            verifier.identify(api_key, address)


@pytest.mark.parametrize("kind", ["wrong secret", "unknown id", "malformed"])
def test_wrong_keys_of_an_address_are_limited_before_the_hash(limited, hashed, kind):
    key = issue("phone", [Right.READ])
    wrong_key = {
        "wrong secret": wrong(key),
        "unknown id": f"emo_{'0' * 12}_{'A' * 43}",
        "malformed": "emo_x",
    }[kind]
    exhaust(limited, wrong_key, HOME)
    hashed.clear()
    for _ in range(5):
        with pytest.raises(TooManyRequests) as caught:
            limited.identify(wrong_key, HOME)
        assert 1 <= caught.value.retry_after <= 60
    assert hashed == []
    assert limited.identify(key, STRANGER).name == "phone"


def test_verified_keys_are_accepted_from_a_limited_address(limited):
    key, other = issue("phone", [Right.READ]), issue("other", [Right.READ])
    limited.identify(key, HOME)
    exhaust(limited, wrong(key), HOME)
    assert limited.identify(key, HOME).name == "phone"
    with pytest.raises(TooManyRequests):
        limited.identify(other, HOME)


def test_wrong_keys_for_an_id_are_limited_across_addresses_but_not_for_the_owner(limited, hashed):
    key = issue("phone", [Right.READ])
    for number in range(3):
        exhaust(limited, wrong(key), f"203.0.113.{number}", times=1)
    for number in range(3):  # each address has failed once, and the id three times
        with pytest.raises(TooManyRequests):
            limited.identify(wrong(key), f"203.0.113.{number}")
    assert len(hashed) == 3
    assert limited.identify(key, HOME).name == "phone"


def test_limit_on_wrong_keys_ends_after_the_window():
    verifier, key = KeyVerifier(FailedAttempts(1, 0.2)), issue("phone", [Right.READ])
    exhaust(verifier, wrong(key), HOME, times=1)
    with pytest.raises(TooManyRequests):
        verifier.identify(key, HOME)
    time.sleep(0.25)
    assert verifier.identify(key, HOME).name == "phone"


def test_failed_attempts_forget_windows_beyond_the_maximum(monkeypatch):
    monkeypatch.setattr(attempts, "MAX_WINDOWS", 20)
    failed = FailedAttempts(3, 60)
    for number in range(100):
        failed.count(f"192.0.2.{number}", f"{number}")
    assert len(failed._windows) <= 20


def test_verifier_forgets_keys_beyond_the_maximum(monkeypatch):
    monkeypatch.setattr(domain, "MAX_VERIFIED", 2)
    verifier = KeyVerifier()
    for _ in range(4):
        verifier.identify(issue("phone", [Right.READ]), HOME)
    assert len(verifier._verified) == 2


def test_verified_key_is_checked_again_after_its_hash_has_changed():
    verifier, key = KeyVerifier(), issue("phone", [Right.READ])
    verifier.identify(key, HOME)
    other = issue("other", [Right.READ])
    rows = {row.name: row for row in db.session.query(KeyRow)}
    rows["phone"].secret_hash = rows["other"].secret_hash
    db.session.commit()
    with pytest.raises(WrongKey):
        verifier.identify(key, HOME)
    assert verifier.identify(other, HOME).name == "other"


def test_creation_and_revocation_are_logged_without_the_secret(caplog):
    caplog.set_level(logging.INFO)
    key = issue("phone", [Right.READ, Right.ERASE])
    _, key_id, secret = key.split("_", 2)
    revoke(key_id)
    created, revoked = caplog.records
    assert created.event == "key_created"
    assert (created.key_id, created.rights) == (key_id, ["erase", "read"])
    assert (revoked.event, revoked.key_id) == ("key_revoked", key_id)
    assert secret not in "".join(str(vars(record)) for record in caplog.records)


def test_revoke_raises_not_found_for_an_unknown_id():
    with pytest.raises(NotFound):
        keys.revoke("nope")


def test_second_revocation_keeps_the_time_of_the_first():
    key_id = issue("phone", [Right.READ]).split("_")[1]
    keys.revoke(key_id)
    first = keys.find(key_id).revoked_at
    keys.revoke(key_id)
    assert keys.find(key_id).revoked_at == first is not None
