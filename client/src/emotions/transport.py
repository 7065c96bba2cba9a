"""Sends requests and retries them after transient errors."""

import email.utils
import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from emotions.connection import (
    checked_base_url,
    checked_header_value,
    environment_proxies,
    new_session,
)
from emotions.errors import BadReply, EmotionError, ServiceUnreachable, TimedOut, problem
from emotions.multipart import encode_form

PROBLEM_JSON = "application/problem+json"
RETRY_STATUSES = frozenset({429, 503})
GATEWAY_STATUSES = frozenset({502, 504})  # a proxy sends these while the service restarts
FIRST_PAUSE, MAX_PAUSE = 0.5, 30.0  # seconds
EXCERPT_LENGTH = 80  # characters of an unexpected response that the message quotes


@dataclass(frozen=True)
class Reply:
    """A successful response. `tries` is the number of times that the request was sent."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    tries: int

    def json(self) -> Any:
        """Return the parsed content. Raises BadReply if it is not JSON."""
        try:
            return json.loads(self.content)
        except ValueError as error:
            raise _bad_reply(self.status, self.content) from error


class Transport:
    """Sends requests to one service. It is thread-safe: each thread has its own connections.

    `retries` is the number of retries after connection errors, timeouts, and responses of a service
    that is overloaded or rate-limited. Every request is safe to repeat: reads and deletions are
    idempotent, and analyses have an Idempotency-Key. Pauses grow exponentially with full jitter, so
    that clients do not retry simultaneously. A `Retry-After` of up to MAX_PAUSE is honoured. A
    longer `Retry-After` ends the retries.

    `trust_env` is described in EmotionClient. The client never reads ~/.netrc, never follows a
    redirect, and sends requests to the local machine without a proxy. The local machine is a
    loopback address, a name such as `localhost`, a name that resolves to loopback addresses only,
    or the machine's own name if it resolves to local addresses only. A name is resolved once per
    client, before the first request, and only if the environment sets a proxy for it. A name that
    cannot be resolved counts as remote.

    Raises ValueError for an invalid `base_url` or `api_key`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        timeout: tuple[float, float],
        retries: int,
        trust_env: bool,
    ) -> None:
        self.base_url = checked_base_url(base_url)
        self._headers = {"User-Agent": "emotions-client", "Accept": "application/json"}
        if api_key:
            key = checked_header_value("api_key", api_key)
            self._headers["Authorization"] = f"Bearer {key}"
        self._timeout = timeout
        self._retries = retries
        self._trust_env = trust_env
        self._thread_local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []
        self._proxies: dict[str, str] | None = None

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request and return the successful reply. Raises EmotionError."""
        body: Any = data
        headers = {**self._headers, **(headers or {})}
        if files is not None:
            body, headers["Content-Type"] = encode_form(data or {}, files)
        for tries in range(1, self._retries + 2):
            is_last = tries > self._retries
            try:
                response = self._session().request(
                    method,
                    f"{self.base_url}{path}",
                    params=params,
                    data=body,
                    headers=headers,
                    timeout=self._timeout,
                    # A redirect would turn a POST into a GET or send the image to another server.
                    allow_redirects=False,
                )
            except OSError as error:  # RequestException and a missing CA bundle are OSErrors
                if is_last or not _is_transient(error):
                    raise _with_tries(self._connection_error(error), tries) from error
                pause = None
            else:
                if 200 <= response.status_code < 300:
                    return Reply(response.status_code, response.headers, response.content, tries)
                pause = _retry_after(response.headers)
                if is_last or not _is_retryable(response) or (pause or 0) > MAX_PAUSE:
                    raise _with_tries(_error_of(response), tries)
            time.sleep(_backoff(tries) if pause is None else pause)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()
            self._thread_local = threading.local()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._thread_local, "session", None)
        if session is None:
            with self._lock:
                if self._proxies is None:
                    self._proxies = environment_proxies(self.base_url) if self._trust_env else {}
                session = new_session(self._proxies, trust_env=self._trust_env)
                self._thread_local.session = session
                self._sessions.append(session)
        return session

    def _connection_error(self, error: OSError) -> EmotionError:
        if isinstance(error, requests.exceptions.ProxyError):
            return ServiceUnreachable(
                f"the proxy for {self.base_url} cannot be reached or rejects the request: check "
                "HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or add the host to NO_PROXY"
            )
        if isinstance(error, requests.exceptions.SSLError):
            return ServiceUnreachable(
                f"the certificate of {self.base_url} cannot be verified: {error}"
            )
        if isinstance(error, requests.Timeout):
            return TimedOut(f"{self.base_url} did not respond within {self._timeout[1]:g} seconds")
        if isinstance(error, requests.ConnectionError):
            return ServiceUnreachable(
                f"{self.base_url} cannot be reached: check that the service is running there"
            )
        return ServiceUnreachable(f"the request to {self.base_url} cannot be sent: {error}")


def _with_tries(error: EmotionError, tries: int) -> EmotionError:
    error.tries = tries
    return error


def _is_transient(error: OSError) -> bool:
    is_certificate = isinstance(error, requests.exceptions.SSLError)
    return isinstance(error, requests.ConnectionError | requests.Timeout) and not is_certificate


def _is_problem(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").startswith(PROBLEM_JSON)


def _is_retryable(response: requests.Response) -> bool:
    # The service itself sends 502 and 504 if it cannot fetch an image from its URL.
    is_from_proxy = response.status_code in GATEWAY_STATUSES and not _is_problem(response)
    return response.status_code in RETRY_STATUSES or is_from_proxy


def _error_of(response: requests.Response) -> EmotionError:
    if 300 <= response.status_code < 400:
        target = response.headers.get("Location", "an unknown address")
        return BadReply(
            f"the server redirects to {target}, but the client does not follow redirects: "
            "set base_url to the address of the service"
        )
    if not _is_problem(response):
        if response.status_code in RETRY_STATUSES | GATEWAY_STATUSES:
            # A proxy responds because it cannot reach the service.
            return problem(503, {"detail": f"a proxy responded with {response.status_code}"})
        return _bad_reply(response.status_code, response.content)
    try:
        document = response.json()
    except ValueError:
        return _bad_reply(response.status_code, response.content)
    if not isinstance(document, dict):
        return _bad_reply(response.status_code, response.content)
    return problem(response.status_code, document)


def _bad_reply(status: int, content: bytes) -> BadReply:
    excerpt = content[:EXCERPT_LENGTH].decode("utf-8", "replace")
    return BadReply(f"unexpected HTTP {status} response, not from this service: {excerpt!r}")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After`, which is a number or a date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        retry_time = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, retry_time.timestamp() - time.time())


def _backoff(tries: int) -> float:
    """Return a pause in seconds: exponential backoff with full jitter."""
    bound = min(MAX_PAUSE, FIRST_PAUSE * 2**tries)
    return random.uniform(0, bound)  # noqa: S311  # nosec B311
