"""Who is let in is settled before the first worker starts."""

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


def test_without_a_key_the_start_warns_on_one_line(settings):
    level, text = check_access_policy(settings)
    assert level == logging.WARNING
    assert "no API key exists" in text
    assert CREATE_COMMAND in text
    assert "\n" not in text


def test_with_proxies_and_without_a_key_the_warning_says_that_nobody_is_let_in(settings):
    level, text = check_access_policy(replace(settings, proxies=1))
    assert level == logging.WARNING
    assert "only public routes" in text


@pytest.mark.parametrize("host", [ANYWHERE, "::", "192.0.2.1", "emotion.example"])
def test_others_are_not_let_in_by_an_oversight(settings, host):
    with pytest.raises(SettingError, match="flask --app wsgi keys create"):
        check_access_policy(replace(settings, host=host))


def test_anonymous_access_is_warned_of(settings):
    level, text = check_access_policy(replace(settings, host=ANYWHERE, allow_anonymous=True))
    assert level == logging.WARNING
    assert text.startswith("EMOTION_ALLOW_ANONYMOUS is set: every client that can connect to 0.0.0")


@pytest.mark.usefixtures("with_key")
@pytest.mark.parametrize("host", ["127.0.0.1", ANYWHERE])
def test_with_a_key_it_starts_anywhere(settings, host):
    assert check_access_policy(replace(settings, host=host)) == (
        logging.INFO,
        "requests need an API key",
    )


def test_a_database_that_is_away_does_not_stop_the_start(settings, tmp_path):
    away = replace(settings, host=ANYWHERE, database_url=f"sqlite:///{tmp_path / 'empty.db'}")
    assert "cannot check yet" in check_access_policy(away).text


def test_gunicorn_does_not_start_where_others_would_be_let_in(settings, tmp_path):
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
