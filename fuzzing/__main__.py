"""Fuzz the decoder and the HTTP API. Equal seeds give equal inputs.

    make fuzz
    python -m fuzzing --inputs 100000 --http 10000 --served 8000 --examples 2000 --seed 1

The decoder reads damaged images. The application in this process and gunicorn receive hostile
requests. The application also receives valid and invalid requests that are generated from the
OpenAPI document (fuzzing.contract). Warnings of libraries and the request log go to standard error
(`make fuzz` writes them to runs/fuzz.log). The first finding ends the run and prints its number;
`--first NUMBER` starts with this number.
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

MAX_GROWTH = 0.1  # share of memory, from the middle to the end of a run
MIN_INPUTS_FOR_GROWTH = 1000  # the growth of shorter runs is not checked


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="images for the decoder")
    parser.add_argument("--http", type=int, default=10_000, help="requests in this process")
    parser.add_argument("--served", type=int, default=8_000, help="number of requests to gunicorn")
    parser.add_argument(
        "--examples", type=int, default=2_000, help="requests per operation of OpenAPI"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    arguments = parser.parse_args()
    faulthandler.enable()  # prints the stack if the process crashes
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run(arguments, Path(folder))
        except Finding as finding:
            print(f"finding: {finding}")
            sys.exit(1)


def _run(arguments: argparse.Namespace, folder: Path) -> None:
    seed, first = arguments.seed, arguments.first
    if arguments.inputs:
        _print(decoder.run(arguments.inputs, seed=seed, first=first))
    settings = Settings(
        database_url=f"sqlite:///{folder / 'fuzz.db'}",
        keep_pictures=True,  # so that requests can find stored files
        pictures_dir=folder / "pictures",
        **http.LIMITS,
    )
    app = create_app(settings)
    if arguments.http or arguments.examples:
        with app.app_context():
            upgrade()
    if arguments.http:
        send = http.in_process(app.test_client())
        _print(
            http.run(
                arguments.http,
                seed=seed,
                send=send,
                name="in process",
                memory=resident_mb,
                first=first,
            )
        )
    if arguments.served:
        _print(_served(arguments.served, seed=seed, first=first, folder=folder))
    if arguments.examples:
        contract.run(app, examples=arguments.examples, seed=seed)


def _served(count: int, *, seed: int, first: int, folder: Path) -> Report:
    limits = {f"EMOTION_{name.upper()}": str(value) for name, value in http.LIMITS.items()}
    with running_service(folder, EMOTION_WORKERS="1", **limits) as url:
        before = http.workers(folder)

        def memory() -> float:
            if count >= MIN_INPUTS_FOR_GROWTH:
                time.sleep(2 * TRIM_SECONDS)  # until the allocator has returned free memory
            return http.largest_mb(before)

        report = http.run(
            count,
            seed=seed,
            send=http.over_the_wire(url),
            name="served by gunicorn",
            memory=memory,
            first=first,
            server_statuses=http.GUNICORN_STATUSES,
        )
        if http.workers(folder) != before:
            raise Finding(f"the workers changed from {before} to {http.workers(folder)}")
    return report


def _print(report: Report) -> None:
    print(report, flush=True)
    if report.count >= MIN_INPUTS_FOR_GROWTH and report.growth > MAX_GROWTH:
        raise Finding(f"{report.name}: memory grew from {report.memory_mb[1]:.0f} MB "
                      f"to {report.memory_mb[-1]:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
