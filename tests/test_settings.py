from pathlib import Path

import pytest

from app import create_app
from app.settings import SettingError, Settings
from app.store.migrate import upgrade
from app.store.tables import db


def test_without_an_environment_the_defaults_hold():
    settings = Settings.from_environment({"PATH": "/bin"})
    assert (settings.host, settings.port, settings.threshold) == ("127.0.0.1", 5000, 0.5)
    assert settings.database_url.endswith("/instance/emotion.db")


def test_the_environment_wins():
    settings = Settings.from_environment(
        {"PORT": "8080", "EMOTION_THRESHOLD": "0.25", "EMOTION_MODELS_DIR": "/m"}
    )
    assert (settings.port, settings.threshold, settings.models_dir) == (8080, 0.25, Path("/m"))


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False)])
def test_false_is_false(text, value):
    settings = Settings.from_environment({"EMOTION_ALLOW_ANONYMOUS": text})
    assert settings.allow_anonymous is value


def test_what_kubernetes_adds_for_a_service_of_that_name_is_not_ours():
    foreign = {"EMOTION_PORT": "tcp://10.0.0.1:80", "EMOTION_SERVICE_HOST": "10.0.0.1"}
    assert Settings.from_environment(foreign) == Settings()


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("PORT", ""),
        ("EMOTION_THRESHOLD", "1.5"),
        ("EMOTION_THRESHOLD", "nan"),
        ("EMOTION_MAX_PIXELS", "0"),
        ("EMOTION_MAX_PIXELS", "1e6"),
        ("EMOTION_MAX_PIXELS", "500000000"),
        ("EMOTION_WORKERS", "-1"),
        ("EMOTION_THRESOLD", "0.5"),
        ("EMOTION_ALLOW_ANONYMOUS", "yes"),
        ("EMOTION_ALLOW_ANONYMOUS", ""),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(env, text):
    with pytest.raises(SettingError, match=env):
        Settings.from_environment({env: text})


@pytest.mark.parametrize(
    "url", ["", "foo", "sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d"]
)
def test_a_database_that_cannot_serve_stops_the_start_without_showing_secrets(url):
    with pytest.raises(SettingError, match="EMOTION_DATABASE_URL") as caught:
        create_app(Settings(database_url=url))
    assert "secret" not in str(caught.value)


def test_an_unknown_detector_stops_the_start():
    with pytest.raises(SettingError, match="EMOTION_DETECTOR: known are haar"):
        create_app(Settings(detector="nope"))


def test_a_relative_database_lies_where_the_service_is_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = create_app(Settings(database_url="sqlite:///here/a.db"))
    with app.app_context():
        upgrade()
        db.engine.dispose()
    assert (tmp_path / "here" / "a.db").is_file()
