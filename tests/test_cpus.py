import os

import pytest

from app.cpus import available_cpus


@pytest.fixture
def host_with_64_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))


def cpus_of(cgroups, membership="0::/\n"):
    (cgroups / "membership").write_text(membership)
    return available_cpus(cgroups, cgroups / "membership")


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64)],
)
def test_available_cpus_uses_the_quota_of_the_cgroup(host_with_64_cpus, tmp_path, limit, cpus):
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert cpus_of(tmp_path) == cpus


@pytest.mark.parametrize(
    ("quota", "parent_quota", "cpus"), [("300000", "max", 3), ("900000", "200000", 2)]
)
def test_available_cpus_uses_the_smallest_quota_of_the_cgroup_and_its_parents(
    host_with_64_cpus, tmp_path, quota, parent_quota, cpus
):
    service = tmp_path / "system.slice" / "emotion.service"
    service.mkdir(parents=True)
    (service / "cpu.max").write_text(f"{quota} 100000")
    (service.parent / "cpu.max").write_text(f"{parent_quota} 100000")
    assert cpus_of(tmp_path, "0::/system.slice/emotion.service\n") == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("300000", 3), ("-1", 64)])
@pytest.mark.parametrize("path", ["/", "/docker/abc"])
def test_available_cpus_uses_the_quota_of_cgroup_v1(host_with_64_cpus, tmp_path, quota, cpus, path):
    folder = tmp_path / "cpu" / path.lstrip("/")
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert cpus_of(tmp_path, f"5:memory:/elsewhere\n4:cpu,cpuacct:{path}\n") == cpus


def test_available_cpus_uses_the_affinity_if_there_is_no_quota(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5})
    assert available_cpus(tmp_path, tmp_path / "nothing") == 2
