"""Headers that every answer carries: what a browser may do with it."""

from flask import Flask, Response
from flask_cors import CORS

from app.api.forwarded import init_forwarded
from app.settings import Settings

# Scripts come from files of this service only. Swagger UI sets styles on elements.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Answers speak of people's faces: they stay in no cache. Assets say otherwise themselves.
    "Cache-Control": "no-store",
}


# What a page of another site may send and read, besides what every page may.
CORS_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID")
CORS_READ = (
    *("Link", "Location", "Retry-After", "X-Request-ID"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)


def init_headers(app: Flask, settings: Settings) -> None:
    """Raises SettingError."""
    if settings.proxies:
        init_forwarded(app, settings.proxies)
    if settings.origins:
        CORS(
            app,
            origins=sorted(settings.origins),
            allow_headers=CORS_SENT,
            expose_headers=CORS_READ,
            max_age=600,
        )

    @app.after_request
    def add(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response
