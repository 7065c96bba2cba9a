"""Whether memory stays flat: the resident memory of each worker while mixed pictures come.

    make soak
    python -m benchmarks.soak --pictures 10000

Pictures of many sizes, kinds and contents, good and bad ones, by turns through every pipeline,
detector and model that is there, stored and not stored, by eight clients; in between results are
read and erased, too. Printed is what each worker has at rest, the most that it had during each
tenth part of the pictures, and what it keeps afterwards, when it has given back what is free.
"""

import argparse
import io
import itertools
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from app.server.loop import TRIM_SECONDS
from app.settings import ROOT
from testbed.markdown import table
from testbed.processes import resident_mb
from testbed.service import Service

CONCURRENCY = 8
PARTS = 10
PHOTO = ROOT / "docs" / "astronaut.jpg"
SIDES = (64, 200, 512, 800, 1280, 2000, 4000)
KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF")
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"model": "custom_net_5"},
    {"model": "custom_net_8_int8"},
    {"pipeline": "single_shot"},
    {"detector": "single_shot"},
    {"detector": "haar_default"},
    {"store": "false"},
    {"pipeline": "single_shot", "min_face_px": "10"},
)


def pictures() -> list[bytes]:
    """Files of each kind and size, of one face and of sixteen, and some that are none."""
    photo = Image.open(PHOTO).convert("RGB")
    crowd = Image.new("RGB", (2048, 2048))
    for x, y in itertools.product(range(4), repeat=2):
        crowd.paste(photo, (512 * x, 512 * y))
    made = []
    for side, kind in itertools.product(SIDES, KINDS):
        if kind in ("PNG", "TIFF", "GIF") and side > 1280:
            continue  # some ten megabytes each
        for image in (photo, crowd):
            file = io.BytesIO()
            image.resize((side, side * 3 // 4)).save(file, kind)
            made.append(file.getvalue())
    noise = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()
    return [*made, made[0][:-500], b"no picture", noise, b"\xff\xd8\xff" + noise]


def ask(url: str, files: Sequence[bytes], number: int) -> int:
    """Post a picture as the `number` says; every fiftieth time read and erase instead."""
    if number % 50 == 0:
        requests.get(f"{url}/v1/images?page_size=100", timeout=60)
        requests.get(f"{url}/v1/summary", timeout=60)
    if number % 500 == 0:
        old = {"file_name": "a.jpg"}
        return requests.delete(f"{url}/v1/images", params=old, timeout=60).status_code
    file = files[number % len(files)]
    options: dict[str, Any] = OPTIONS[number // 7 % len(OPTIONS)]
    name = "a.jpg" if number % 3 else "b.jpg"
    headers = {"Accept": "image/png"} if number % 40 == 7 else {}
    return requests.post(
        f"{url}/v1/images",
        files={"image": (name, file)},
        data=options,
        headers=headers,
        timeout=60,
    ).status_code


class Watch(threading.Thread):
    """Looks at each worker every half second, until it is `over`."""

    def __init__(self, workers: Sequence[int]) -> None:
        super().__init__()
        self.seen: dict[int, list[float]] = {worker: [] for worker in workers}
        self.over = threading.Event()

    def run(self) -> None:
        while True:
            for worker, sizes in self.seen.items():
                sizes.append(resident_mb(worker))
            if self.over.wait(0.5):
                break

    def most(self) -> list[float]:
        """Of each worker, once it is over."""
        self.over.set()
        self.join()
        return [max(sizes) for sizes in self.seen.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    arguments = parser.parse_args()
    files = pictures()
    seen: Counter[int] = Counter()
    part = arguments.pictures // PARTS
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        try:
            service.start()
            workers = service.workers()
            time.sleep(2 * TRIM_SECONDS)
            rows = [["at rest", *(f"{resident_mb(worker):.0f}" for worker in workers)]]
            kept: list[list[float]] = []
            with ThreadPoolExecutor(CONCURRENCY) as pool:
                for first in range(0, part * PARTS, part):
                    numbers = range(first, first + part)
                    watch = Watch(workers)
                    watch.start()
                    seen.update(pool.map(lambda number: ask(service.url, files, number), numbers))
                    most = watch.most()
                    time.sleep(2 * TRIM_SECONDS)
                    kept.append([resident_mb(worker) for worker in workers])
                    cells = [f"{k:.0f} ({m:.0f})" for k, m in zip(kept[-1], most, strict=True)]
                    rows.append([f"{first + part:,}", *cells])
                    print(rows[-1], flush=True)
            if service.workers() != workers:
                raise SystemExit("a worker died")
        finally:
            service.stop()
    numbered = [f"worker {n} keeps (had at most), MB" for n, _ in enumerate(workers, 1)]
    print(table(["after pictures", *numbered], rows))
    print("answers:", ", ".join(f"{status}: {count}" for status, count in sorted(seen.items())))
    for n, (early, late) in enumerate(zip(kept[0], kept[-1], strict=True), 1):
        print(f"worker {n}: {100 * (late / early - 1):+.1f} % since the first {part:,} pictures")


if __name__ == "__main__":
    main()
