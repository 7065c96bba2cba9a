"""Hostile input by the hundred thousand, the same for the same seed.

    make fuzz
    python -m fuzzing --inputs 100000 --http 10000 --served 8000 --examples 2000 --seed 1

Damaged pictures go through the decoder, hostile requests through the application in this process
and as gunicorn serves it, and what the OpenAPI document allows and does not allow through the
application again (fuzzing.contract). What libraries remark on damage and the log of the requests
go to standard error (`make fuzz`: to runs/fuzz.log). The first thing that must not happen ends the
run, with its number; `--first NUMBER` begins there.
"""

import argparse
import faulthandler
import sys
import tempfile
import time
from pathlib import Path

from app import create_app
from app.server.loop import TRIM_SECONDS
from app.settings import Settings
from app.store.migrate import upgrade
from fuzzing import contract, decoder, http
from fuzzing.report import Finding, Report
from testbed.processes import resident_mb
from testbed.service import running_service

MOST_GROWTH = 0.1  # of memory, from the middle of a run to its end
LONG = 1000  # inputs: shorter runs say nothing of growth


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="pictures for the decoder")
    parser.add_argument("--http", type=int, default=10_000, help="requests in this process")
    parser.add_argument("--served", type=int, default=8_000, help="requests to gunicorn")
    parser.add_argument("--examples", type=int, default=2_000, help="of each operation's contract")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number to begin with")
    asked = parser.parse_args()
    faulthandler.enable()  # what ends the process says where
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run(asked, Path(folder))
        except Finding as finding:
            print(f"found: {finding}")
            sys.exit(1)


def _run(asked: argparse.Namespace, folder: Path) -> None:
    seed, first = asked.seed, asked.first
    if asked.inputs:
        _print(decoder.run(asked.inputs, seed=seed, first=first))
    settings = Settings(
        database_url=f"sqlite:///{folder / 'fuzz.db'}",
        keep_pictures=True,  # so that there is something to ask for
        pictures_dir=folder / "pictures",
        **http.LIMITS,
    )
    app = create_app(settings)
    if asked.http or asked.examples:
        with app.app_context():
            upgrade()
    if asked.http:
        send = http.in_process(app.test_client())
        _print(
            http.run(
                asked.http, seed=seed, send=send, what="in process", memory=resident_mb, first=first
            )
        )
    if asked.served:
        _print(_served(asked.served, seed=seed, first=first, folder=folder))
    if asked.examples:
        contract.run(app, examples=asked.examples, seed=seed)


def _served(count: int, *, seed: int, first: int, folder: Path) -> Report:
    limits = {f"EMOTION_{name.upper()}": str(value) for name, value in http.LIMITS.items()}
    with running_service(folder, EMOTION_WORKERS="1", **limits) as url:
        before = http.workers(folder)

        def memory() -> float:
            if count >= LONG:
                time.sleep(2 * TRIM_SECONDS)  # until what is free was given back
            return http.largest_mb(before)

        report = http.run(
            count,
            seed=seed,
            send=http.over_the_wire(url),
            what="served by gunicorn",
            memory=memory,
            first=first,
            servers=http.GUNICORNS,
        )
        if http.workers(folder) != before:
            raise Finding(f"workers {before} have become {http.workers(folder)}")
    return report


def _print(report: Report) -> None:
    print(report, flush=True)
    if report.count >= LONG and report.growth > MOST_GROWTH:
        raise Finding(f"{report.what}: memory grew from {report.memory_mb[1]:.0f} MB "
                      f"to {report.memory_mb[-1]:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
