from pathlib import Path

import pytest

from app.settings import SettingError, Settings


def test_without_an_environment_the_defaults_hold():
    settings = Settings.from_environment({"PATH": "/bin"})
    assert (settings.host, settings.port, settings.threshold) == ("127.0.0.1", 5000, 0.5)
    assert settings.database_url.endswith("/instance/emotion.db")


def test_the_environment_wins():
    settings = Settings.from_environment(
        {"PORT": "8080", "EMOTION_THRESHOLD": "0.25", "EMOTION_MODELS_DIR": "/m"}
    )
    assert (settings.port, settings.threshold, settings.models_dir) == (8080, 0.25, Path("/m"))


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
        ("EMOTION_WORKERS", "-1"),
        ("EMOTION_THRESOLD", "0.5"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(env, text):
    with pytest.raises(SettingError, match=env):
        Settings.from_environment({env: text})
