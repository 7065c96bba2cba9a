"""Logs the ids of erased images."""

import logging
from collections.abc import Iterator, Sequence

log = logging.getLogger(__name__)

RUNS_PER_RECORD = 100


def log_erased(ids: Sequence[int]) -> None:
    """Log erased images. `ids` must be in ascending order."""
    for text in _ranges(ids):
        log.info("images %s are erased", text)


def _ranges(ids: Sequence[int]) -> Iterator[str]:
    """Yield runs of consecutive ids as text, such as "3–7, 9", to keep the log records short."""
    runs: list[list[int]] = []
    for id_ in ids:
        if runs and runs[-1][1] == id_ - 1:
            runs[-1][1] = id_
        else:
            runs.append([id_, id_])
    for first in range(0, len(runs), RUNS_PER_RECORD):
        yield ", ".join(
            f"{low}" if low == high else f"{low}–{high}"
            for low, high in runs[first : first + RUNS_PER_RECORD]
        )
