import dataclasses
from pathlib import Path

import pytest

from app import create_app
from app.environment import SERVICE_VARIABLES
from app.settings import SettingError, Settings
from app.store.migrate import upgrade
from app.store.tables import db


def test_from_environment_uses_the_defaults_for_unset_variables():
    settings = Settings.from_environment({"PATH": "/bin"})
    assert (settings.host, settings.port, settings.threshold) == ("127.0.0.1", 5000, 0.5)
    assert settings.database_url.endswith("/instance/emotion.db")


def test_from_environment_reads_variables():
    settings = Settings.from_environment(
        {"PORT": "8080", "EMOTION_THRESHOLD": "0.25", "EMOTION_MODELS_DIR": "/m"}
    )
    assert (settings.port, settings.threshold, settings.models_dir) == (8080, 0.25, Path("/m"))


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False)])
def test_from_environment_parses_booleans(text, value):
    settings = Settings.from_environment({"EMOTION_ALLOW_ANONYMOUS": text})
    assert settings.allow_anonymous is value


KUBERNETES_VARIABLES = {
    "EMOTION_SERVICE_HOST": "10.0.0.1",
    "EMOTION_SERVICE_PORT": "80",
    "EMOTION_SERVICE_PORT_HTTP": "80",
    "EMOTION_PORT": "tcp://10.0.0.1:80",
    "EMOTION_PORT_80_TCP": "tcp://10.0.0.1:80",
    "EMOTION_DB_SERVICE_HOST": "fd00::1",
    "EMOTION_DB_SERVICE_PORT": "5432",
    "EMOTION_DB_SERVICE_PORT_POSTGRES_5432": "5432",
    "EMOTION_DB_PORT": "tcp://[fd00::1]:5432",
    "EMOTION_DB_PORT_5432_TCP": "tcp://10.0.0.1:5432",
    "EMOTION_DB_PORT_5432_TCP_PROTO": "tcp",
    "EMOTION_DB_PORT_5432_TCP_PORT": "5432",
    "EMOTION_DB_PORT_5432_TCP_ADDR": "10.0.0.1",
    "EMOTION_DNS_PORT_53_UDP": "udp://10.0.0.1:53",
    "EMOTION_DNS_PORT_53_UDP_PROTO": "udp",
    "EMOTION_X_2_PORT_9_SCTP_PROTO": "sctp",
    "EMOTION_MAX_PORT": "tcp://10.0.0.1:80",
    "EMOTION_MAX_SERVICE_HOST": "10.0.0.1",
    "EMOTION_MAX_IMAGES_SERVICE_PORT": "80",
}


@pytest.mark.parametrize("env", KUBERNETES_VARIABLES)
def test_from_environment_ignores_variables_of_kubernetes_services(env):
    assert Settings.from_environment({env: KUBERNETES_VARIABLES[env]}) == Settings()


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ("EMOTION_PORT", "8080"),
        ("EMOTION_HOST", "10.0.0.1"),
        ("EMOTION_DB", "10.0.0.1"),
        ("EMOTION_DB_PORT", "5432"),
        ("EMOTION_DB_HOST", "10.0.0.1"),
        ("EMOTION_DB_SERVICE_HOST", "postgres"),
        ("EMOTION_DB_SERVICE_HOST_X", "10.0.0.1"),
        ("EMOTION_DB_SERVICE_PORT", "http"),
        ("EMOTION_DB_PORT_5432", "tcp://10.0.0.1:5432"),
        ("EMOTION_DB_PORT_5432_TCP_NAME", "db"),
        ("EMOTION_DB_PORT_X_TCP", "tcp://10.0.0.1:80"),
        ("EMOTION_DB_PORT_5432_HTTP", "tcp://10.0.0.1:80"),
        ("EMOTION_PORTS", "tcp://10.0.0.1:80"),
        ("EMOTION_db_PORT", "tcp://10.0.0.1:80"),
        ("EMOTION_DB_PORT", "tcp://10.0.0.1:80\n"),
    ],
)
def test_from_environment_rejects_unknown_variables_similar_to_those_of_kubernetes(env, text):
    with pytest.raises(SettingError, match=f"unknown setting {env}"):
        Settings.from_environment({env: text})


def test_no_setting_has_a_name_that_kubernetes_could_set():
    """Otherwise the variable of a Service could be read as the setting."""
    for field in dataclasses.fields(Settings):
        for name, _ in SERVICE_VARIABLES:
            assert not name.fullmatch(field.metadata["env"])


@pytest.mark.parametrize("text", ["debug", "INFO", "Warning", "error"])
def test_log_level_accepts_any_case(text):
    settings = Settings.from_environment({"EMOTION_LOG_LEVEL": text})
    assert settings.log_level == text.lower()


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
        ("EMOTION_LOG_LEVEL", "verbose"),
        ("EMOTION_LOG_LEVEL", ""),
        ("EMOTION_LOG_LEVEL", "10"),
    ],
)
def test_from_environment_rejects_invalid_values_and_names_the_variable(env, text):
    with pytest.raises(SettingError, match=env):
        Settings.from_environment({env: text})


@pytest.mark.parametrize(
    "url", ["", "foo", "sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d"]
)
def test_create_app_rejects_an_unusable_database_url_without_showing_it(url):
    with pytest.raises(SettingError, match="EMOTION_DATABASE_URL") as caught:
        create_app(Settings(database_url=url))
    assert "secret" not in str(caught.value)


def test_create_app_rejects_an_unknown_detector():
    with pytest.raises(SettingError, match=r"EMOTION_DETECTOR must be one of haar, .*, got 'nope'"):
        create_app(Settings(detector="nope"))


def test_relative_database_path_is_relative_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = create_app(Settings(database_url="sqlite:///here/a.db"))
    with app.app_context():
        upgrade()
        db.engine.dispose()
    assert (tmp_path / "here" / "a.db").is_file()
