"""Check that memory stays constant: the resident memory of each worker under mixed requests.

    make soak
    python -m benchmarks.soak --images 10000

Eight clients post images of many sizes, formats and contents, valid and invalid ones, to different
pipelines, detectors and models, with and without storing. They also read and delete results. The
output has the memory of each idle worker at the start, its peak during each tenth of the images,
and its idle memory afterwards, when the allocator has returned free memory.
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
COLUMN = "worker {}: idle (peak), MB"
PARTS = 10
PHOTO = ROOT / "docs" / "astronaut.jpg"
SIDES = (64, 200, 512, 800, 1280, 2000, 4000)
KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF")
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"model": "custom_net_5"},
    {"model": "custom_net_8"},
    {"pipeline": "single_shot"},
    {"detector": "single_shot"},
    {"detector": "haar_default"},
    {"store": "false"},
    {"pipeline": "single_shot", "min_face_px": "10"},
)


def image_files() -> list[bytes]:
    """Files of each format and size with one face and with sixteen, and invalid files."""
    photo = Image.open(PHOTO).convert("RGB")
    crowd = Image.new("RGB", (2048, 2048))
    for x, y in itertools.product(range(4), repeat=2):
        crowd.paste(photo, (512 * x, 512 * y))
    valid = []
    for side, kind in itertools.product(SIDES, KINDS):
        if kind in ("PNG", "TIFF", "GIF") and side > 1280:
            continue  # these files have about ten megabytes
        for image in (photo, crowd):
            file = io.BytesIO()
            image.resize((side, side * 3 // 4)).save(file, kind)
            valid.append(file.getvalue())
    noise = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()
    return [*valid, valid[0][:-500], b"no image", noise, b"\xff\xd8\xff" + noise]


def send(url: str, files: Sequence[bytes], number: int) -> int:
    """Post an image with the options of this `number`, and return the status.

    Every 50th call also reads, and every 500th deletes instead of posting.
    """
    if number % 50 == 0:
        requests.get(f"{url}/v1/images?page_size=100", timeout=60)
        requests.get(f"{url}/v1/summary", timeout=60)
    if number % 500 == 0:
        query = {"file_name": "a.jpg"}
        return requests.delete(f"{url}/v1/images", params=query, timeout=60).status_code
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


class MemoryMonitor(threading.Thread):
    """Records the memory of each worker every half second, until `stopped` is set."""

    def __init__(self, workers: Sequence[int]) -> None:
        super().__init__()
        self.sizes: dict[int, list[float]] = {worker: [] for worker in workers}
        self.stopped = threading.Event()

    def run(self) -> None:
        while True:
            for worker, sizes in self.sizes.items():
                sizes.append(resident_mb(worker))
            if self.stopped.wait(0.5):
                break

    def peaks(self) -> list[float]:
        """Stop, and return the peak of each worker."""
        self.stopped.set()
        self.join()
        return [max(sizes) for sizes in self.sizes.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    arguments = parser.parse_args()
    files = image_files()
    statuses: Counter[int] = Counter()
    part = arguments.images // PARTS
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        try:
            service.start()
            workers = service.workers()
            time.sleep(2 * TRIM_SECONDS)
            rows = [["start", *(f"{resident_mb(worker):.0f}" for worker in workers)]]
            idle: list[list[float]] = []
            with ThreadPoolExecutor(CONCURRENCY) as pool:
                for first in range(0, part * PARTS, part):
                    numbers = range(first, first + part)
                    monitor = MemoryMonitor(workers)
                    monitor.start()
                    statuses.update(
                        pool.map(lambda number: send(service.url, files, number), numbers)
                    )
                    peaks = monitor.peaks()
                    time.sleep(2 * TRIM_SECONDS)
                    idle.append([resident_mb(worker) for worker in workers])
                    cells = [
                        f"{after:.0f} ({peak:.0f})"
                        for after, peak in zip(idle[-1], peaks, strict=True)
                    ]
                    rows.append([f"{first + part:,}", *cells])
                    print(rows[-1], flush=True)
            if service.workers() != workers:
                raise SystemExit("error: a worker process ended during the run")
        finally:
            service.stop()
    columns = [COLUMN.format(number) for number, _ in enumerate(workers, 1)]
    print(table(["images", *columns], rows))
    print(
        "statuses:", ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    )
    for n, (early, late) in enumerate(zip(idle[0], idle[-1], strict=True), 1):
        print(f"worker {n}: {100 * (late / early - 1):+.1f} % since the first {part:,} images")


if __name__ == "__main__":
    main()
