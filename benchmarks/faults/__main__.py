"""Nothing accepted is lost: load while things break, and a count of what is stored afterwards.

    make faults
    python -m benchmarks.faults --posts 2000 --faults killed restarted full stopped

So many clients at a time post pictures, each with a name and an Idempotency-Key of its own, and
again until each has its 201. Meanwhile

- killed: a random worker is killed (SIGKILL) every second;
- restarted: the service is stopped as an operator does (SIGTERM) and started again;
- full: the disk that SQLite writes to is full for some seconds (a small tmpfs; needs root);
- stopped: PostgreSQL is stopped for ten seconds (a server of its own, from Debian's packages).

Afterwards every 201 must be stored once and whole, its picture too, and nothing else. Clients may
have seen 201, 503 with Retry-After, or a connection that was closed or silent for a minute. A file
without an image is allowed only while its removal is scheduled in the database, and `retention run`
must remove it. /readyz is asked all the while.
"""

import argparse
import sys

from benchmarks.faults import run
from benchmarks.faults.breaking import FAULTS
from benchmarks.faults.load import CLOSED
from testbed.markdown import table


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    arguments = parser.parse_args()
    rows, well = [], True
    for fault in arguments.faults:
        outcome, verdict, seconds = run(fault, arguments.posts)
        seen = outcome.seen
        others = {kind: n for kind, n in seen.items() if kind not in ("201", "503", CLOSED)}
        well = well and verdict.well and not others and not outcome.given_up
        rows.append(
            [
                fault,
                *(arguments.posts, seen["201"], seen["503"], seen[CLOSED], others or 0),
                *(verdict.stored, verdict.lost, verdict.doubled, verdict.torn, verdict.unasked),
                verdict.waiting,
                verdict.strays,
                ", ".join(f"{n} × {kind}" for kind, n in sorted(outcome.ready.items())),
                f"{seconds:.0f}",
            ]
        )
        print(rows[-1], file=sys.stderr, flush=True)
    head = ["fault", "pictures", "201", "503", "closed", "others"]
    head += [
        "stored",
        "lost",
        "doubled",
        "torn",
        "unasked",
        "waiting",
        "strays",
        "readyz",
        "seconds",
    ]
    print(table(head, [[str(cell) for cell in row] for row in rows]))
    if not well:
        raise SystemExit("something was lost, doubled, torn or answered otherwise")


if __name__ == "__main__":
    main()
