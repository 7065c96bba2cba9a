"""The check of the access policy before the workers start."""

import logging
import subprocess
import sys
from dataclasses import replace

import pytest

from app.keys import CREATE_COMMAND, issue
from app.settings import ROOT, SettingError
from app.start import check_access_policy
from app.store.keys import Right

ANYWHERE = "0.0.0.0"


@pytest.fixture
def with_key(app):
    with app.app_context():
        issue("phone", [Right.READ])


def test_start_warns_in_one_line_if_no_key_exists(settings):
    level, text = check_access_policy(settings)
    assert level == logging.WARNING
    assert "no API key exists" in text
    assert CREATE_COMMAND in text
    assert "\n" not in text


def test_start_warns_that_only_public_routes_are_available_behind_a_proxy_without_a_key(settings):
    level, text = check_access_policy(replace(settings, proxies=1))
    assert level == logging.WARNING
    assert "only public routes" in text


@pytest.mark.parametrize("host", [ANYWHERE, "::", "192.0.2.1", "emotion.example"])
def test_start_rejects_a_public_host_without_a_key(settings, host):
    with pytest.raises(SettingError, match="flask --app wsgi keys create"):
        check_access_policy(replace(settings, host=host))


def test_start_warns_about_anonymous_access(settings):
    level, text = check_access_policy(replace(settings, host=ANYWHERE, allow_anonymous=True))
    assert level == logging.WARNING
    assert text.startswith("EMOTION_ALLOW_ANONYMOUS is set: every client that can connect to 0.0.0")


@pytest.mark.usefixtures("with_key")
@pytest.mark.parametrize("host", ["127.0.0.1", ANYWHERE])
def test_start_accepts_any_host_if_a_key_exists(settings, host):
    assert check_access_policy(replace(settings, host=host)) == (
        logging.INFO,
        "requests need an API key",
    )


def test_start_accepts_an_unavailable_database(settings, tmp_path):
    unavailable = f"sqlite:///{tmp_path / 'empty.db'}"
    notice = check_access_policy(replace(settings, host=ANYWHERE, database_url=unavailable))
    assert "cannot check yet" in notice.text


def test_gunicorn_does_not_start_on_a_public_host_without_a_key(settings, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "docker/gunicorn.conf.py", "wsgi:app"],
        cwd=ROOT,
        env={"HOST": ANYWHERE, "PORT": "0", "EMOTION_DATABASE_URL": settings.database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "error: HOST=0.0.0.0 accepts other machines and no API key exists" in done.stderr
    assert "Booting worker" not in done.stderr
    assert "Traceback" not in done.stderr
