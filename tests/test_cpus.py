import os

import pytest

from app.cpus import available_cpus


@pytest.fixture
def host_with_64_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64)],
)
def test_the_quota_of_a_cgroup_counts(host_with_64_cpus, tmp_path, limit, cpus):
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert available_cpus(tmp_path) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("300000", 3), ("-1", 64)])
def test_the_older_cgroup_counts_too(host_with_64_cpus, tmp_path, quota, cpus):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert available_cpus(tmp_path) == cpus


def test_affinity_counts_where_there_is_no_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5})
    assert available_cpus(tmp_path) == 2
