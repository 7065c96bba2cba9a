"""Check that no committed image is lost while workers, database and disk fail.

    make faults
    python -m benchmarks.faults --posts 2000 --faults killed restarted full stopped

Clients post images, each with a unique name and Idempotency-Key, and repeat each request until it
is answered 201. Meanwhile one of these faults recurs:

- killed: a random worker is killed (SIGKILL) every second;
- restarted: the service is stopped (SIGTERM) and started again;
- full: the disk of SQLite is full for some seconds (a small tmpfs; needs root);
- stopped: PostgreSQL is stopped for ten seconds (a separate server from Debian packages).

Afterwards every image with a 201 must be stored exactly once, completely and with its file, and no
other image. Allowed responses are 201, 503 with Retry-After, and a connection that is closed or
silent for a minute. A file without an image is allowed only while its removal is scheduled in the
database, and `retention run` must remove it. /readyz is requested during the whole run.
"""

import argparse
import sys

from benchmarks.faults import run
from benchmarks.faults.injection import FAULTS
from benchmarks.faults.load import CLOSED
from testbed.markdown import table


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    arguments = parser.parse_args()
    rows, passed = [], True
    for fault in arguments.faults:
        outcome, report, seconds = run(fault, arguments.posts)
        responses = outcome.responses
        unexpected = {
            kind: n for kind, n in responses.items() if kind not in ("201", "503", CLOSED)
        }
        passed = passed and report.passed and not unexpected and not outcome.given_up
        rows.append(
            [
                fault,
                *(
                    arguments.posts,
                    responses["201"],
                    responses["503"],
                    responses[CLOSED],
                    unexpected or 0,
                ),
                *(
                    report.stored,
                    report.lost,
                    report.duplicated,
                    report.incomplete,
                    report.unconfirmed,
                ),
                report.scheduled,
                report.orphans,
                ", ".join(f"{n} × {kind}" for kind, n in sorted(outcome.ready.items())),
                f"{seconds:.0f}",
            ]
        )
        print(rows[-1], file=sys.stderr, flush=True)
    head = ["fault", "images", "201", "503", "closed", "unexpected"]
    head += [
        "stored",
        "lost",
        "duplicated",
        "incomplete",
        "unconfirmed",
        "scheduled",
        "orphans",
        "readyz",
        "seconds",
    ]
    print(table(head, [[str(cell) for cell in row] for row in rows]))
    if not passed:
        raise SystemExit("error: images or responses are incorrect; see the table")


if __name__ == "__main__":
    main()
