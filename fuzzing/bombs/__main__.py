"""Prints what the bombs cost, and what the largest images that are allowed cost.

    python -m fuzzing.bombs

Each row says what came of an image, the milliseconds of CPU time, and the megabytes by which the
peak of resident memory grew. CPU time is measured because another busy process must not count.
"""

from collections.abc import Callable, Iterator

from fuzzing.bombs import BOMBS, LARGEST
from fuzzing.reading_cost import Meter
from testbed.markdown import table


def rows(meter: Meter, images: dict[str, Callable[[], bytes]]) -> Iterator[list[str]]:
    for name, make in images.items():
        data = make()
        its = meter.cost(data)
        yield [name, f"{len(data):,}", its.came, f"{its.milliseconds:.1f}", f"{its.megabytes:.1f}"]


def main() -> None:
    head = ["image", "bytes", "result", "ms of CPU", "MB"]
    with Meter() as meter:
        print(table(head, list(rows(meter, BOMBS))), end="\n\n")
        print(table(head, list(rows(meter, LARGEST))))


if __name__ == "__main__":
    main()
