"""Run the attacks and print the table of results. The exit status is 1 if a criterion is not met.

make attack
python -m attacks --quick
python -m attacks --attacks costly-images locked-sqlite
"""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from types import FrameType

from app.settings import ROOT
from attacks.access import without_key
from attacks.connections import slow_clients, unread_answers
from attacks.locks import locked_postgresql, locked_sqlite
from attacks.memory import large_forms, large_json, unread_images
from attacks.result import Attack, Result, Skip, markdown
from attacks.storage import deleted_bytes, full_disk
from attacks.work import costly_images
from testbed.markdown import renew

ATTACKS: dict[str, Attack] = {
    "unread-answers": unread_answers,
    "slow-clients": slow_clients,
    "large-forms": large_forms,
    "large-json": large_json,
    "unread-images": unread_images,
    "costly-images": costly_images,
    "locked-sqlite": locked_sqlite,
    "locked-postgresql": locked_postgresql,
    "proxy-without-key": without_key,
    "full-disk": full_disk,
    "deleted-bytes": deleted_bytes,
}
PAGE = ROOT / "docs" / "hostile-input.md"
MAX_SECONDS = 570  # for all attacks together


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m attacks", description=__doc__.splitlines()[0])
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument(
        "--quick", action="store_true", help="run shorter variants, about two minutes"
    )
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _on_sigterm)
    end = time.monotonic() + MAX_SECONDS
    results: list[Result] = []
    for name in arguments.attacks:
        for result in run(name, ATTACKS[name], quick=arguments.quick, end=end):
            print(markdown([result]).splitlines()[-1], file=sys.stderr, flush=True)
            results.append(result)
    print(markdown(results))
    if arguments.write:
        PAGE.write_text(renew(PAGE.read_text("utf-8"), {"attacks": markdown(results)}), "utf-8")
    if names := [result.attack for result in results if failed(result)]:
        raise SystemExit(f"failed: {'; '.join(names)}")


def run(name: str, attack: Attack, *, quick: bool, end: float) -> Iterator[Result]:
    """Yield the results of an attack.

    An attack that raises, or is not finished at time.monotonic() `end`, is a failed result.
    """
    remaining = int(end - time.monotonic())
    if remaining <= 0:
        yield Result(name, 0, "not started: the time limit was reached", "", False)
        return
    signal.signal(signal.SIGALRM, _on_timeout)
    signal.alarm(remaining)
    try:
        yield from attack(quick)
    except Skip as reason:
        yield Result(name, 0, str(reason), "", None)
    except Exception as error:
        traceback.print_exc()
        yield Result(name, 0, f"ended with {type(error).__name__}: {error}", "", False)
    finally:
        signal.alarm(0)


def failed(result: Result) -> bool:
    """Whether the run fails because of this result. In CI a skipped attack is a failure."""
    return result.passed is False or (result.passed is None and os.environ.get("CI") == "true")


def _on_timeout(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError("the time limit was reached")


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit("error: stopped by SIGTERM")


if __name__ == "__main__":
    main()
