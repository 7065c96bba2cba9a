"""Reads the fields of a dataclass from environment variables.

`setting` declares a field with the variable, the range and the help. `read_fields` parses the
variables and rejects unknown ones, except those that Kubernetes sets.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from app.plain_numbers import parse_decimal, parse_whole

PREFIX = "EMOTION_"

# The variables that Kubernetes adds to every pod for a Service called "emotion" or "emotion-…".
# They are ignored only if the value also has the form that Kubernetes uses. EMOTION_PORT=8080 does
# not have this form, so it is rejected as a mistake for PORT=8080.
_SERVICE_ADDRESS = r"[0-9.]+|[0-9a-fA-F:.]+"
_SERVICE_URL = rf"(tcp|udp|sctp)://(\[?({_SERVICE_ADDRESS})\]?):\d+"
SERVICE_VARIABLES = tuple(
    (re.compile(rf"EMOTION(_[A-Z0-9_]+)?_{name}"), re.compile(value))
    for name, value in (
        (r"SERVICE_HOST", _SERVICE_ADDRESS),
        (r"SERVICE_PORT(_[A-Z0-9_]+)?", r"\d+"),
        (r"PORT(_\d+_(TCP|UDP|SCTP))?", _SERVICE_URL),
        (r"PORT_\d+_(TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
        (r"PORT_\d+_(TCP|UDP|SCTP)_PORT", r"\d+"),
        (r"PORT_\d+_(TCP|UDP|SCTP)_ADDR", _SERVICE_ADDRESS),
    )
)

_BOOLEANS = {"true": True, "false": False}
_READERS: dict[type, Callable[[str], Any]] = {
    bool: lambda text: _BOOLEANS[text.lower()],
    int: parse_whole,
    float: parse_decimal,
}
_KINDS = {bool: "true or false", int: "a whole number", float: "a decimal number"}


def setting(
    env: str,
    default: Any,
    help: str,
    at_least: float = 0,
    at_most: float = 1e18,
    *,
    choices: tuple[str, ...] = (),
) -> Any:
    """Return a dataclass field that `read_fields` reads from the variable `env`.

    The range applies to numbers. With `choices`, the value must be one of them. Upper and lower
    case are equivalent.
    """
    metadata = {"env": env, "help": help, "range": (at_least, at_most), "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


def read_fields(cls: type[Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the fields of `cls` whose variables are set, by field name.

    Raises ValueError, with a message for the operator, for an invalid value, and for an unknown
    variable that starts with PREFIX, because it is usually a misspelled setting.
    """
    fields = {field.metadata["env"]: field for field in dataclasses.fields(cls)}
    kinds = get_type_hints(cls)
    for env, text in environment.items():
        if not env.startswith(PREFIX) or env in fields or _is_set_by_kubernetes(env, text):
            continue
        raise ValueError(f"unknown setting {env}; known settings: {', '.join(fields)}")
    return {
        field.name: _parse(env, environment[env], kinds[field.name], field.metadata)
        for env, field in fields.items()
        if env in environment
    }


def _is_set_by_kubernetes(env: str, text: str) -> bool:
    return any(name.fullmatch(env) and value.fullmatch(text) for name, value in SERVICE_VARIABLES)


def _parse(env: str, text: str, kind: type, metadata: Mapping[str, Any]) -> Any:
    if choices := metadata["choices"]:
        if text.lower() not in choices:
            raise ValueError(f"{env} must be one of {', '.join(choices)}, got {text!r}")
        return text.lower()
    try:
        value = _READERS.get(kind, kind)(text)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{env} must be {_KINDS[kind]}, got {text!r}") from error
    low, high = metadata["range"]
    # This comparison is False for NaN, which is therefore rejected.
    if kind in (int, float) and not low <= value <= high:
        raise ValueError(f"{env} must be between {low:.10g} and {high:.10g}, got {text!r}")
    return value
