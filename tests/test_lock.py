"""requirements.lock is complete, has hashes, satisfies requirements.txt and is what tests use."""

import importlib.metadata
import re
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from app.settings import ROOT

LOCK = (ROOT / "requirements.lock").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
PYTHONS = ("3.11.0", "3.12.1", "3.13.0", "3.14.0")


def entries(text=LOCK):
    """(requirement, number of hashes) of each package of the lock."""
    joined = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in joined.splitlines():
        requirement = line.split(" --hash")[0].strip()
        yield Requirement(requirement), len(HASH.findall(line))


def required():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def environment(python):
    return {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
    }


def locked(python):
    """Version by name, of what pip installs for this Python on Linux."""
    versions = {}
    for requirement, _ in entries():
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            name = canonicalize_name(requirement.name)
            assert name not in versions, f"{name} is locked twice for Python {python}"
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            versions[name] = Version(specifier.version)
    return versions


def running():
    return ".".join(map(str, sys.version_info[:3]))


def test_every_package_has_hashes_and_no_host_is_named():
    assert len(list(entries())) > len(required())
    assert [str(it) for it, hashes in entries() if not hashes] == []
    assert "://" not in LOCK
    options = re.findall(r"^\s*(-\S+)", LOCK, re.MULTILINE)
    assert all(HASH.fullmatch(option) for option in options)


@pytest.mark.parametrize("python", PYTHONS)
def test_it_satisfies_requirements_txt(python):
    versions = locked(python)
    for requirement in required():
        version = versions.get(canonicalize_name(requirement.name))
        assert version, f"{requirement} is not locked: run make lock"
        assert requirement.specifier.contains(version), f"{requirement}: run make lock"


def test_it_names_what_its_packages_need_in_turn():
    versions = locked(running())
    extras = {canonicalize_name(it.name): it.extras for it in required()}
    for name in versions:
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            here = {"", *extras.get(name, ())}
            if needed.marker and not any(needed.marker.evaluate({"extra": it}) for it in here):
                continue
            version = versions.get(canonicalize_name(needed.name))
            assert version, f"{name} needs {needed}, which is not locked: run make lock"
            assert needed.specifier.contains(version), f"{name} needs {needed}"


def test_the_tests_run_with_the_locked_versions():
    different = {
        name: f"{importlib.metadata.version(name)} is installed, {version} is locked"
        for name, version in locked(running()).items()
        if Version(importlib.metadata.version(name)) != version
    }
    assert different == {}


def test_make_installs_from_the_lock():
    runtime = re.search(r"^\.venv/\.runtime: requirements\.lock .*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    assert "--require-hashes -r requirements.lock" in runtime[1]
    # Nothing else may replace a locked version.
    others = re.findall(r"^\t.*\$\(INSTALL\).* -r (requirements-\w+\.txt)$", MAKEFILE, re.M)
    constrained = re.findall(r"\$\(INSTALL\) -c \.venv/\.constraints -r (\S+)$", MAKEFILE, re.M)
    assert sorted(others) == sorted(constrained)
    assert set(others) == {path.name for path in ROOT.glob("requirements-*.txt")}
