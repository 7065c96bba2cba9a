"""Send one request, and repeat it while a repetition may help."""

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
from emotions.errors import BadReply, EmotionError, ServiceAway, TimedOut, problem
from emotions.multipart import encode_form

PROBLEM_JSON = "application/problem+json"
AGAIN = frozenset({429, 503})
PROXYS = frozenset({502, 504})  # a proxy's, while the service restarts, where it is no problem+json
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds
EXCERPT = 80  # characters of a reply that nobody understands


@dataclass(frozen=True)
class Reply:
    """`tries` says how often the request was sent."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    tries: int

    def json(self) -> Any:
        """Raises BadReply."""
        try:
            return json.loads(self.content)
        except ValueError as error:
            raise _bad_reply(self.status, self.content) from error


class Transport:
    """Sends requests to one service. Threads may share it: each one gets its own connections.

    `retries`: how often a request is sent again when the connection fails, the answer takes too
    long, or the service is busy or limits the rate. Every request is safe to repeat: reading and
    erasing are idempotent, and analysing has an Idempotency-Key. Pauses double and vary, so that
    clients do not come back all at once. A `Retry-After` of up to LONGEST_PAUSE is honoured, a
    longer one ends the attempts.

    `trust_env`: see EmotionClient. The client never reads ~/.netrc, never follows a redirect, and
    sends requests to this machine without a proxy. These mean this machine: a loopback address, a
    name such as `localhost`, a name that resolves to loopback addresses only, and the machine's own
    name if it resolves to its own addresses only. A name is resolved before the first request, once
    per client, and only if the environment sets a proxy for it. A name that cannot be resolved
    means another machine.

    Raises ValueError for a `base_url` or an `api_key` that cannot be used.
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
        self._own = threading.local()
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
        """The reply, if it is a success. Raises EmotionError."""
        body: Any = data
        headers = {**self._headers, **(headers or {})}
        if files is not None:
            body, headers["Content-Type"] = encode_form(data or {}, files)
        for tries in range(1, self._retries + 2):
            last = tries > self._retries
            try:
                response = self._session().request(
                    method,
                    f"{self.base_url}{path}",
                    params=params,
                    data=body,
                    headers=headers,
                    timeout=self._timeout,
                    # A redirected POST would become a GET, and could carry images elsewhere.
                    allow_redirects=False,
                )
            except OSError as error:  # RequestException is one; so is a missing CA bundle
                if last or not _may_pass(error):
                    raise _after(tries, self._away(error)) from error
                pause = None
            else:
                if 200 <= response.status_code < 300:
                    return Reply(response.status_code, response.headers, response.content, tries)
                pause = _retry_after(response.headers)
                if last or not _worth_another(response) or (pause or 0) > LONGEST_PAUSE:
                    raise _after(tries, _refusal(response))
            time.sleep(_pause(tries) if pause is None else pause)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()
            self._own = threading.local()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            with self._lock:
                if self._proxies is None:
                    self._proxies = environment_proxies(self.base_url) if self._trust_env else {}
                session = new_session(self._proxies, trust_env=self._trust_env)
                self._own.session = session
                self._sessions.append(session)
        return session

    def _away(self, error: OSError) -> EmotionError:
        if isinstance(error, requests.exceptions.ProxyError):
            return ServiceAway(
                f"the proxy for {self.base_url} does not answer or refuses: check HTTP_PROXY, "
                "HTTPS_PROXY and ALL_PROXY, or add the host to NO_PROXY"
            )
        if isinstance(error, requests.exceptions.SSLError):
            return ServiceAway(f"the certificate of {self.base_url} cannot be verified: {error}")
        if isinstance(error, requests.Timeout):
            return TimedOut(f"{self.base_url} did not answer within {self._timeout[1]:g} seconds")
        if isinstance(error, requests.ConnectionError):
            return ServiceAway(f"{self.base_url} does not answer: is the service running there?")
        return ServiceAway(f"the request to {self.base_url} cannot be sent: {error}")


def _after(tries: int, error: EmotionError) -> EmotionError:
    error.tries = tries
    return error


def _may_pass(error: OSError) -> bool:
    is_certificate = isinstance(error, requests.exceptions.SSLError)
    return isinstance(error, requests.ConnectionError | requests.Timeout) and not is_certificate


def _worth_another(response: requests.Response) -> bool:
    if response.status_code in AGAIN:
        return True
    is_ours = response.headers.get("Content-Type", "").startswith(PROBLEM_JSON)
    return response.status_code in PROXYS and not is_ours


def _refusal(response: requests.Response) -> EmotionError:
    if 300 <= response.status_code < 400:
        target = response.headers.get("Location", "an address that it does not name")
        return BadReply(
            f"the server redirects to {target}, and redirects are not followed: "
            "set base_url to the address of the service itself"
        )
    if not response.headers.get("Content-Type", "").startswith(PROBLEM_JSON):
        if response.status_code in AGAIN | PROXYS:  # of a proxy, in front of a service that is not
            return problem(503, {"detail": f"a proxy answers {response.status_code}"})
        return _bad_reply(response.status_code, response.content)
    try:
        document = response.json()
    except ValueError:
        return _bad_reply(response.status_code, response.content)
    if not isinstance(document, dict):
        return _bad_reply(response.status_code, response.content)
    return problem(response.status_code, document)


def _bad_reply(status: int, content: bytes) -> BadReply:
    excerpt = content[:EXCERPT].decode("utf-8", "replace")
    return BadReply(f"HTTP {status} with what this service does not answer: {excerpt!r}")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number of them or a date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def _pause(tries: int) -> float:
    """Anywhere up to a bound that doubles, known as full jitter."""
    bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2**tries)
    return random.uniform(0, bound)  # noqa: S311  # nosec B311
