"""The header Authorization: malformed headers, wrong, revoked and expired keys, and their limit."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from app.settings import SettingError
from app.store import keys
from app.store.keys import Right
from tests.api.access import ask, environment, get_images, make_key


@pytest.mark.parametrize(
    "header",
    ["", " ", "Bearer", "Bearer ", "Basic \xff", "Basic YTpi", "Bearer \xff", "Digest a", "\xff"],
)
def test_malformed_authorization_header_returns_401_without_keys(client, header):
    response = client.get("/v1/images", headers={"Authorization": header})
    assert response.status_code == 401
    assert response.content_type == "application/problem+json"


def wrong_keys(key):
    """Return wrong keys that are similar to `key`, by description."""
    return {
        "another secret": key[:-1] + ("A" if key[-1] != "A" else "B"),
        "another id": re.sub("_.", "_z", key, count=1),
        "no secret": key.rpartition("_")[0],
        "an empty secret": "_".join(key.split("_")[:2]) + "_",
        "another prefix": "x" + key,
        "longer": key + "A",
        "not ASCII": "emo_ü_ü",
        "long": "emo_" + "a" * 5000,
    }


@pytest.mark.parametrize("case", wrong_keys("emo_a_b"))
def test_unknown_key_returns_401(app, client, case):
    key = make_key(app, Right.READ)
    assert ask(client, "GET /v1/images", key).status_code == 200
    response = ask(client, "GET /v1/images", wrong_keys(key)[case])
    assert response.status_code == 401
    assert response.json["detail"] == "the API key is not valid"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "emo_a_b", "Bearer a b"])
def test_malformed_authorization_header_returns_401_with_keys(app, client, header):
    make_key(app, Right.READ)
    response = client.get("/v1/images", headers={"Authorization": header})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"]


def test_wrong_key_returns_401_for_local_client(client):
    assert ask(client, "GET /v1/images", "emo_a_b").status_code == 401


def test_revocation_takes_effect_at_next_request(app, client, caplog):
    key = make_key(app, Right.READ)
    assert ask(client, "GET /v1/images", key).status_code == 200
    with app.app_context():
        keys.revoke(key.split("_")[1])
    response = ask(client, "GET /v1/images", key)
    assert (response.status_code, response.json["detail"]) == (401, "the key has been revoked")
    (record,) = [each for each in caplog.records if getattr(each, "event", "") == "ended_key_shown"]
    assert (record.key_id, record.end) == (key.split("_")[1], "revoked")
    assert ask(client, "GET /v1/images").status_code == 401  # anonymous access stays disabled


def test_expired_key_returns_401(app, client):
    now = datetime.now(UTC)
    valid = make_key(app, Right.READ, expires_at=now + timedelta(minutes=1))
    expired = make_key(app, Right.READ, expires_at=now - timedelta(seconds=1))
    assert ask(client, "GET /v1/images", valid).status_code == 200
    response = ask(client, "GET /v1/images", expired)
    assert (response.status_code, response.json["detail"]) == (401, "the key has expired")


WRONG_HEADERS = ["Basic YTpi", "bearer", "emo_a_b", "Bearer a,Bearer b", "Bearer " + "ä" * 8000]


@pytest.mark.parametrize("header", WRONG_HEADERS)
def test_unusual_authorization_header_returns_401(client, header):
    response = get_images(client, {"headers": {"Authorization": header}})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_authorization_scheme_is_case_insensitive(app, client):
    key = make_key(app, Right.READ)
    for scheme in ("bearer", "BEARER", "Bearer  "):
        response = client.get("/v1/images", headers={"Authorization": f"{scheme} {key}"})
        assert response.status_code == 200


def with_wrong_secret(key):
    return {"headers": {"Authorization": f"Bearer {key[:-1]}{'A' if key[-1] != 'A' else 'B'}"}}


def status_codes(client, arguments, times):
    return [get_images(client, arguments).status_code for _ in range(times)]


def test_wrong_keys_are_limited_and_valid_key_still_works(app, client):
    key = make_key(app, Right.READ)
    valid = {"headers": {"Authorization": f"Bearer {key}"}}
    assert status_codes(client, valid, 1) == [200]
    assert status_codes(client, with_wrong_secret(key), 12) == [401] * 10 + [429] * 2
    response = get_images(client, with_wrong_secret(key))
    assert response.json["type"] == "urn:emotion:problem:too-many-requests"
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert status_codes(client, valid, 1) == [200]
    assert status_codes(client, {}, 1) == [401]  # requests without a key are not counted
    other_address = {**with_wrong_secret(key), **environment(REMOTE_ADDR="192.0.2.9")}
    assert status_codes(client, other_address, 1) == [401]


def test_wrong_keys_are_counted_per_ipv6_network(make_app):
    app = make_app(key_failure_limit="2/minute")
    client, key = app.test_client(), make_key(app, Right.READ)

    def ask(address):
        arguments = with_wrong_secret(key) | environment(REMOTE_ADDR=address)
        return get_images(client, arguments).status_code

    assert [ask(f"2001:db8:1:2::{n}") for n in range(3)] == [401, 401, 429]
    # The key id is over the limit now. This blocks only addresses that have sent a wrong key.
    assert [ask(f"::ffff:192.0.2.{n}") for n in (1, 2)] == [401, 401]
    assert ask("::ffff:192.0.2.1") == 429


def test_wrong_keys_are_counted_by_forwarded_address_behind_proxy(make_app):
    app = make_app(proxies=1, key_failure_limit="1/minute")
    client, key = app.test_client(), make_key(app, Right.READ)

    def ask(address):
        arguments = with_wrong_secret(key)
        arguments["headers"]["X-Forwarded-For"] = address
        return get_images(client, arguments).status_code

    assert [ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")] == [401, 429, 401]


def test_empty_failure_limit_disables_counting(make_app):
    app = make_app(key_failure_limit="")
    arguments = with_wrong_secret(make_key(app, Right.READ))
    assert set(status_codes(app.test_client(), arguments, 15)) == {401}


@pytest.mark.parametrize("limit", ["many", "0/minute/x", "10", "0/minute", "1/second; 5/minute"])
def test_invalid_failure_limit_fails_startup(make_app, limit):
    with pytest.raises(SettingError, match="EMOTION_KEY_FAILURE_LIMIT"):
        make_app(key_failure_limit=limit)
