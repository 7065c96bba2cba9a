"""The service. Importing this package imports neither Flask nor a model: call `create_app`."""

import os
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask import Flask

    from app.settings import Settings
    from app.store.image_store import ImageStore


def create_app(settings: "Settings | None" = None) -> "Flask":
    """Create the Flask application and all its parts.

    Reads the settings from the environment if `settings` is None. Loads no model and opens no
    database connection. Raises SettingError for an invalid setting.
    """
    from flask import Flask

    from app import web
    from app.api import init_api
    from app.api.root_path import init_root_path
    from app.budget import Budget
    from app.cli import init_cli
    from app.fetch import Fetcher
    from app.fetch_policy import parse_hosts
    from app.settings import DATA, RESOURCES, SettingError, Settings
    from app.store.database import init_database
    from app.vision.detectors import DEFAULT, DETECTORS
    from app.vision.engine import Engine
    from app.vision.pipelines import PIPELINES
    from app.work_queue import WorkQueue

    settings = settings or Settings.from_environment(os.environ)
    if settings.detector and settings.detector not in DETECTORS:
        raise SettingError(_choice_error("EMOTION_DETECTOR", DETECTORS, settings.detector))
    if settings.pipeline not in PIPELINES:
        raise SettingError(_choice_error("EMOTION_PIPELINE", PIPELINES, settings.pipeline))
    app = Flask(__name__, instance_path=str(DATA / "instance"), static_folder=None)
    app.extensions["settings"] = settings
    try:
        hosts = parse_hosts(settings.fetch_hosts)
    except ValueError as error:
        raise SettingError(f"EMOTION_FETCH_HOSTS: {error}") from error
    app.extensions["fetcher"] = None
    if hosts:
        app.extensions["fetcher"] = Fetcher(
            hosts,
            allow_http=settings.fetch_http,
            seconds=settings.fetch_seconds,
            max_bytes=settings.max_image_bytes,
        )
    app.extensions["engine"] = Engine(
        settings.models_dir,
        model=settings.model,
        detector=settings.detector or DEFAULT,
        pipeline=settings.pipeline,
        max_image_bytes=settings.max_image_bytes,
        max_pixels=settings.max_pixels,
        max_faces=settings.max_faces,
        onnx_threads=settings.onnx_threads,
    )
    app.extensions |= {
        "work_queue": WorkQueue(
            concurrency=settings.worker_threads, capacity=settings.max_in_flight
        ),
        "large_body_budget": Budget(settings.max_body_bytes),
        "drawing_budget": Budget(settings.max_drawn_pixels),
    }
    try:
        init_database(
            app,
            settings.database_url,
            connections=settings.request_threads,
            migrations=RESOURCES / "migrations",
        )
    except ValueError as error:  # its message leaves out the URL, which may contain a password
        raise SettingError(f"EMOTION_DATABASE_URL: {error}") from error
    app.extensions["image_store"] = _image_store(settings)
    init_api(app, settings)
    app.register_blueprint(web.blp)
    init_root_path(app, settings.root_path)
    init_cli(app)
    app.extensions["start_worker"] = partial(start_worker, app)
    app.extensions["stop_worker"] = partial(stop_worker, app)
    return app


def _image_store(settings: "Settings") -> "ImageStore":
    """Create the store of kept images. Raises SettingError for an invalid encryption key."""
    from app.settings import SettingError
    from app.store.image_folder import ImageFolder

    cipher = None
    if settings.pictures_key:
        from app.store.cipher import Cipher

        try:
            cipher = Cipher(settings.pictures_key)
        except ValueError as error:  # its message leaves out the key
            raise SettingError(f"EMOTION_PICTURES_KEY: {error}") from error
    return ImageFolder(settings.pictures_dir, keeps=settings.keep_pictures, cipher=cipher)


def _choice_error(env: str, names: "Iterable[str]", value: str) -> str:
    return f"{env} must be one of {', '.join(names)}, got {value!r}"


def start_worker(app: "Flask") -> None:
    """Prepare a worker process after its fork.

    Set the number of OpenCV's threads, load the default model, start the thread that removes erased
    rows from SQLite's write-ahead log, and finish the store maintenance that killed workers left
    incomplete.
    """
    import cv2

    from app.store import queries

    cv2.setNumThreads(app.extensions["settings"].opencv_threads)  # applies to the whole process
    app.extensions["engine"].warm_up()
    app.extensions["wal_cleaner"].start()
    with app.app_context():
        queries.clean_up()


def stop_worker(app: "Flask") -> None:
    """Close the database connections. The last one that closes removes SQLite's write-ahead log."""
    from app.store.tables import db

    with app.app_context():
        db.engine.dispose()
