"""Security headers and CORS headers of every response."""

from flask import Flask, Response
from flask_cors import CORS

from app.api.forwarded import init_forwarded
from app.settings import Settings

# Scripts are files of this service. Styles may be inline, because Swagger UI sets styles on
# elements.
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
    # Responses contain personal data, so nothing may cache them. Assets set their own value.
    "Cache-Control": "no-store",
}

# Headers that pages of allowed origins may send and read besides the CORS-safelisted ones.
CORS_REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID")
CORS_RESPONSE_HEADERS = (
    *("Link", "Location", "Retry-After", "X-Request-ID"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)


def init_headers(app: Flask, settings: Settings) -> None:
    """Add the headers to every response of `app`. Raises SettingError for an invalid origin."""
    if settings.proxies:
        init_forwarded(app, settings.proxies)
    if settings.origins:
        CORS(
            app,
            origins=sorted(settings.origins),
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_RESPONSE_HEADERS,
            max_age=600,
        )

    @app.after_request
    def add_headers(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response
