"""Print the cost of the bombs and of the largest allowed images.

    python -m fuzzing.bombs

Each row has the result, the CPU time in milliseconds, and the growth of the peak of resident memory
in megabytes. CPU time does not depend on other busy processes.
"""

from collections.abc import Callable, Iterator

from fuzzing.bombs import BOMBS, HEAD, LARGEST
from fuzzing.reading_cost import Meter
from testbed.markdown import table


def rows(meter: Meter, images: dict[str, Callable[[], bytes]]) -> Iterator[list[str]]:
    """The rows of the table."""
    for name, make in images.items():
        data = make()
        cost = meter.cost(data)
        figures = (f"{cost.milliseconds:.1f}", f"{cost.megabytes:.1f}")
        yield [name, f"{len(data):,}", cost.result, *figures]


def main() -> None:
    with Meter() as meter:
        print(table(HEAD, list(rows(meter, BOMBS))), end="\n\n")
        print(table(HEAD, list(rows(meter, LARGEST))))


if __name__ == "__main__":
    main()
