"""Keeps old public names working, with a DeprecationWarning."""

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed_attributes(module: str, new_names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for a module. `new_names` maps each old name to the new one."""

    def get(name: str) -> Any:
        if name not in new_names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", new_names[name])
        return getattr(sys.modules[module], new_names[name])

    return get


def renamed_argument(old: str, new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that also accepts a keyword argument by its old name."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{new} was passed twice, also as {old}")
                _warn(f"the argument {old}", new)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def renamed_method(old: str, function: Callable[P, R]) -> Callable[P, R]:
    """Return a method for the name `old` that warns and calls `function`, the new method."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        _warn(old, function.__name__)
        return function(*args, **kwargs)

    call.__doc__ = f"Deprecated name of `{function.__name__}`."
    return call


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=3)
