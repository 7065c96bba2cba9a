"""The container image, tested without a container engine.

The tests copy the files as the Dockerfile does, and run its command as a user who can write only to
/data and /tmp.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import requests
import yaml

from app.settings import ROOT, Settings
from testbed.ports import free_port
from testbed.service import START_SECONDS
from tests.conftest import require

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
COMPOSE_TEXT = (ROOT / "docker" / "compose.yaml").read_text("utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
NOT_COPIED = re.compile(r"models/\w+/\w+\.(png|csv)")
NEVER_COPIED = (
    ".env",
    ".git/config",
    ".venv/bin/python",
    "docker/.env",
    "docker/compose.yaml",
    "docker/serve.bak",
    "instance/emotion.db",
    "app/__pycache__/keys.cpython-311.pyc",
    "app/api/__pycache__/rates.cpython-311.pyc",
    "apple.py",
    "models.zip",
    "tests/app/x.py",
)
NOBODY = 65534
# Run a command as a user without privileges. Only reading is always allowed, because other users
# often cannot read the Python of root. In the image every user can.
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
    *(f"--{which}=-all,+dac_read_search" for which in ("inh-caps", "ambient-caps", "bounding-set")),
    "--",
]


def instructions():
    """Return (instruction, arguments) of each line of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def arguments_of(instruction):
    return [rest for name, rest in instructions() if name == instruction]


def copies_from_the_checkout():
    """Yield (source, destination) of everything that the Dockerfile copies from the checkout."""
    for rest in arguments_of("COPY"):
        if not rest.startswith("--from="):
            *sources, destination = rest.split()
            for source in sources:
                yield source, destination


def variables():
    return dict(pair.split("=", 1) for rest in arguments_of("ENV") for pair in shlex.split(rest))


def ignored(path):
    """Return whether .dockerignore excludes a path.

    The last pattern that matches the path or one of its parents decides.
    """
    parents = [path, *(str(parent) for parent in Path(path).parents)][:-1]
    excluded = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            glob = line.removeprefix("!")
            pattern = re.escape(glob).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
            if any(re.fullmatch(pattern, parent) for parent in parents):
                excluded = not line.startswith("!")
    return excluded


@pytest.fixture(scope="module")
def committed():
    require((ROOT / ".git").exists(), "not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.split("\n")[:-1]


def test_build_context_contains_only_the_files_that_are_copied(committed):
    sources = [source for source, _ in copies_from_the_checkout()]
    assert all((ROOT / source).exists() for source in sources)

    def copied(path):
        inside = any(path == source or path.startswith(f"{source}/") for source in sources)
        return inside and not NOT_COPIED.fullmatch(path)

    for path in committed:
        assert ignored(path) != copied(path), path
    for path in NEVER_COPIED:
        assert ignored(path), path


def test_dockerfile_installs_packages_from_the_lock_with_hashes():
    installs = [rest for rest in arguments_of("RUN") if "pip" in rest]
    assert len(installs) == 1
    assert "--require-hashes -r /tmp/requirements.lock" in " ".join(installs[0].split())
    assert ("requirements.lock", "/tmp/") in copies_from_the_checkout()


def test_memory_limit_is_enough_for_the_default_workers():
    service = COMPOSE["services"]["service"]
    workers = int(re.search(r":-(\d+)\}", service["environment"]["EMOTION_WORKERS"])[1])
    gigabytes = int(re.search(r":-(\d+)g\}", service["mem_limit"])[1])
    assert workers > 0, "0 means one worker per CPU, for which no fixed limit is enough"
    assert gigabytes * 1000 >= 600 * workers + 400


def test_all_settings_of_the_dockerfile_and_compose_file_exist():
    named = set(re.findall(r"\bEMOTION_\w+", DOCKERFILE + COMPOSE_TEXT))
    known = {field.metadata["env"] for field in Settings.__dataclass_fields__.values()}
    assert "EMOTION_DATABASE_URL" in named
    assert named <= known
    Settings.from_environment(variables())


def test_base_images_are_pinned_and_the_user_is_not_root():
    (base,) = arguments_of("ARG")
    assert re.fullmatch(r"BASE=python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    database = COMPOSE["services"]["database"]["image"]
    assert re.fullmatch(r"postgres:[\d.]+-bookworm@sha256:[0-9a-f]{64}", database)
    assert {rest.split()[0] for rest in arguments_of("FROM")} == {"${BASE}"}
    (user,) = arguments_of("USER")
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", user)
    assert arguments_of("VOLUME") == ["/data"]
    assert arguments_of("EXPOSE") == [variables()["PORT"]]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_compose_restricts_the_privileges_and_resources_of_each_service(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+g|\$\{MEMORY:-\d+g\}", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 1024
    assert "privileged" not in service
    assert "cap_add" not in service


def test_compose_publishes_the_service_locally_and_isolates_the_database():
    services = COMPOSE["services"]
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"service": ["127.0.0.1:${PORT:-5000}:5000"]}
    assert services["database"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    password = services["database"]["environment"]["POSTGRES_PASSWORD"]
    assert password.startswith("${POSTGRES_PASSWORD:?")
    assert services["service"]["environment"]["PGPASSWORD"] == password


def test_compose_starts_the_service_after_the_database_and_lets_it_finish_its_requests():
    services = COMPOSE["services"]
    for name in ("service", "key"):
        assert services[name]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "test" in services["database"]["healthcheck"]
    grace = int(services["service"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings().request_seconds + 5
    assert services["key"]["profiles"] == ["key"]
    assert [name for name, service in services.items() if "profiles" in service] == ["key"]


def test_docker_compose_accepts_the_file():
    commands = (["docker", "compose"], ["docker-compose"])
    installed = [command for command in commands if compose(command, "version")]
    require(installed, "no Docker Compose: .ci/services installs it")
    text = COMPOSE_TEXT
    if compose(installed[0], "version", "--short").startswith("1."):
        text = re.sub(r"^name:.*$", "", text, flags=re.MULTILINE)  # unknown to version 1
    config = ["-f", "-", "config"]
    assert "a$$b c" in compose(installed[0], *config, file=text, POSTGRES_PASSWORD="a$b c")
    assert compose(installed[0], *config, file=text) == ""
    misspelled = text.replace("read_only: true", "readonly: true")
    assert compose(installed[0], *config, file=misspelled, POSTGRES_PASSWORD="x") == ""


def compose(command, *arguments, file=None, **environment):
    """Run Docker Compose. Return its output, or an empty text if it fails or is not installed."""
    inherited = {name: text for name, text in os.environ.items() if name != "POSTGRES_PASSWORD"}
    try:
        done = subprocess.run(
            [*command, *arguments],
            env=inherited | environment,
            input=file,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


class Container:
    """The files of the image, in a folder that is read-only for the user who runs them."""

    def __init__(self, folder: Path) -> None:
        self.root, self.data, self.tmp = folder / "root", folder / "data", folder / "tmp"
        self.log = folder / "log"
        self.prefix = AS_NOBODY if os.geteuid() == 0 else []
        folder.chmod(0o755)
        for subfolder in (self.root, self.data, self.tmp):
            subfolder.mkdir()
        for source, destination in copies_from_the_checkout():
            if source != "requirements.lock":
                self._copy(source, destination)
        for path in (self.root, *self.root.rglob("*")):
            path.chmod(0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444)
        if self.prefix:
            for subfolder in (self.data, self.tmp):
                os.chown(subfolder, NOBODY, NOBODY)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            **variables(),
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "EMOTION_DATABASE_URL": f"sqlite:///{self.data / 'emotion.db'}",
            "EMOTION_PICTURES_DIR": str(self.data / "pictures"),
            "EMOTION_KEEP_PICTURES": "true",
            "PORT": str(port),
            "HOME": "/nonexistent",
            "TMPDIR": str(self.tmp),
            "http_proxy": "http://127.0.0.1:1",  # the health check must not use it
        }

    def _copy(self, source: str, destination: str) -> None:
        folder = self.root / destination
        if (ROOT / source).is_dir():
            for path in sorted((ROOT / source).rglob("*")):
                relative = str(path.relative_to(ROOT))
                if path.is_file() and not ignored(relative):
                    target = folder / path.relative_to(ROOT / source)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, target)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, folder)

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *command],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def start(self) -> subprocess.Popen[bytes]:
        (command,) = arguments_of("CMD")
        with self.log.open("w") as log:
            return subprocess.Popen(
                [*self.prefix, *json.loads(command)],
                cwd=self.root,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def is_healthy(self) -> bool:
        (check,) = arguments_of("HEALTHCHECK")
        return self.run(json.loads(check.split(" CMD ")[1])).returncode == 0


@pytest.fixture(scope="module")
def container():
    """A container in a folder that other users can read, unlike the folders of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            done = subprocess.run([*AS_NOBODY, "true"], capture_output=True, check=False)
            require(done.returncode == 0, "root cannot change the user here (setpriv of Linux)")
        yield Container(Path(folder))


@pytest.mark.weights
def test_container_serves_from_its_own_files_and_writes_only_to_data_and_tmp(container):
    (command,) = arguments_of("CMD")
    without_key = container.run(json.loads(command))
    assert without_key.returncode != 0
    message = "error: HOST=0.0.0.0 accepts other machines and no API key exists"
    assert message in without_key.stderr
    assert not container.is_healthy()

    created = container.run(COMPOSE["services"]["key"]["command"])
    assert created.returncode == 0, created.stderr
    headers = {"Authorization": f"Bearer {created.stdout.strip()}"}

    service = container.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not container.is_healthy():
            assert service.poll() is None, container.log.read_text()
            assert time.monotonic() < deadline, container.log.read_text()
            time.sleep(0.1)
        with (ROOT / "docs" / "astronaut.jpg").open("rb") as photo:
            response = requests.post(
                f"{container.url}/v1/images", files={"image": photo}, headers=headers, timeout=60
            )
        assert response.status_code == 201
        assert response.json()["faces"][0]["happiness"] > 0.9
        stored = requests.get(
            f"{container.url}{response.headers['Location']}/picture", headers=headers, timeout=10
        )
        assert stored.content == (ROOT / "docs" / "astronaut.jpg").read_bytes()
        assert requests.get(f"{container.url}/v1/images", timeout=10).status_code == 401
        metrics = requests.get(f"{container.url}/metrics", headers=headers, timeout=10)
        assert "emotion_faces_total" in metrics.text
        models = requests.get(f"{container.url}/v1/models", timeout=10).json()["models"]
        assert {model["name"] for model in models} >= {"custom_net_8", "single_shot"}
        assert len(list(container.tmp.iterdir())) == 1  # the folder of the metrics
    finally:
        service.terminate()
        assert service.wait(timeout=60) == 0
    assert list(container.tmp.iterdir()) == []
    assert {path.name for path in container.data.iterdir()} == {"emotion.db", "pictures"}
    if container.prefix:
        owners = {path.stat().st_uid for path in container.root.rglob("*")}
        assert owners == {0}
    assert not list(container.root.rglob("__pycache__"))
