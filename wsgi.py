"""Entry point of gunicorn and of the `flask` command."""

from app import create_app
from app.settings import SettingError

try:
    app = create_app()
except SettingError as error:
    raise SystemExit(f"error: {error}") from None
