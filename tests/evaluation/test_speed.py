"""The speed measurement returns plausible figures."""

import pytest

from evaluation.speed import measure
from tests.graphs import write_graph_model

pytestmark = pytest.mark.waits


def test_measure_returns_figures_of_every_model(tmp_path):
    folders = [write_graph_model(tmp_path / name) for name in ("one", "two")]
    speeds = measure(folders, rounds=2)
    assert list(speeds) == ["one", "two"]
    for speed in speeds.values():
        assert 0 < speed.ms_a_face < 1000
        assert speed.load_ms > 0
        assert speed.resident_mb > 0
