"""requirements.lock: complete, with hashes, consistent with requirements.txt and the tests."""

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
    """Yield (requirement, number of hashes) for each package of the lock."""
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
    """Return the version by name of the packages that pip installs for a Python on Linux."""
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


def test_lock_has_hashes_for_every_package_and_names_no_host():
    assert len(list(entries())) > len(required())
    assert [str(requirement) for requirement, hashes in entries() if not hashes] == []
    assert "://" not in LOCK
    options = re.findall(r"^\s*(-\S+)", LOCK, re.MULTILINE)
    assert all(HASH.fullmatch(option) for option in options)


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_satisfies_requirements_txt(python):
    versions = locked(python)
    for requirement in required():
        version = versions.get(canonicalize_name(requirement.name))
        assert version, f"{requirement} is not locked: run make lock"
        assert requirement.specifier.contains(version), f"{requirement}: run make lock"


def test_lock_contains_the_dependencies_of_its_packages():
    versions = locked(running())
    extras = {canonicalize_name(package.name): package.extras for package in required()}
    for name in versions:
        names = {"", *extras.get(name, ())}
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker and not any(needed.marker.evaluate({"extra": it}) for it in names):
                continue
            version = versions.get(canonicalize_name(needed.name))
            assert version, f"{name} needs {needed}, which is not locked: run make lock"
            assert needed.specifier.contains(version), f"{name} needs {needed}"


def test_installed_versions_are_the_locked_versions():
    different = {
        name: f"{importlib.metadata.version(name)} is installed, {version} is locked"
        for name, version in locked(running()).items()
        if Version(importlib.metadata.version(name)) != version
    }
    assert different == {}


def test_make_installs_from_the_lock():
    runtime = re.search(r"^\.venv/\.runtime: requirements\.lock .*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    assert "--require-hashes -r requirements.lock" in runtime[1]
    # The other requirements must not replace a locked version.
    installed = re.findall(r"^\t.*\$\(INSTALL\).* -r (requirements-\w+\.txt)$", MAKEFILE, re.M)
    constrained = re.findall(r"\$\(INSTALL\) -c \.venv/\.constraints -r (\S+)$", MAKEFILE, re.M)
    assert sorted(installed) == sorted(constrained)
    assert set(installed) == {path.name for path in ROOT.glob("requirements-*.txt")}
