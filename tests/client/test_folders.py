"""The images that the command `emotions` finds in folders."""

import json
import os

import pytest
from click.testing import CliRunner
from emotions.cli import main
from emotions.watch import STATE_NAME

from tests.conftest import image_file

NEW_KINDS = ["a.heic", "b.HEIF", "c.avif", "d.hif"]


def test_folder_images_are_sent_and_other_files_are_counted(scripted, tmp_path):
    others = ["notes.txt", "more.TXT", "film.mp4", "Makefile", STATE_NAME, f"{STATE_NAME}-wal"]
    for name in (*NEW_KINDS, *others):
        (tmp_path / name).write_bytes(image_file())
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    arguments = ["analyse", str(tmp_path), "--format", "json"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *arguments])
    assert done.exit_code == 0
    paths = [json.loads(line)["path"] for line in done.stdout.splitlines()]
    assert paths == [str(tmp_path / name) for name in NEW_KINDS]
    total, _, kinds = done.stderr.strip().partition(": ")
    assert total == "skipped 5 files that are not images"
    assert kinds.startswith("2 .txt, 1 ")
    assert set(kinds.split(", ")) == {
        "2 .txt", "1 .mp4", "1 without suffix", "1 not a regular file",
    }  # fmt: skip


def test_named_file_is_sent_with_any_suffix(scripted, tmp_path):
    (tmp_path / "photo.raw").write_bytes(image_file())
    arguments = ["analyse", str(tmp_path / "photo.raw"), "--format", "json"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *arguments])
    assert (done.exit_code, done.stderr, len(scripted.requests)) == (0, "", 1)


@pytest.mark.parametrize("command", ["analyse", "mood"])
def test_folder_without_images_is_an_error(scripted, tmp_path, command):
    for number in range(12):
        (tmp_path / f"file.{number}").write_text("")
    done = CliRunner().invoke(main, ["--server", scripted.url, command, str(tmp_path)])
    assert done.exit_code == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("skipped 12 files that are not images: 1 .")
    assert first.endswith("and 4 other file types")
    assert last == "no images found"


def test_unreadable_folder_is_reported(scripted, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(image_file())
    walk = os.walk

    def refuse(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "locked")))
        return walk(folder)

    monkeypatch.setattr("emotions.commands.folders.os.walk", refuse)
    done = CliRunner().invoke(main, ["--server", scripted.url, "analyse", str(tmp_path)])
    assert done.exit_code == 1
    assert f"{tmp_path / 'locked'}: " in done.stderr
    assert "Permission denied" in done.stderr
    assert done.stderr.endswith("0 of 1 images failed, 1 folders cannot be read\n")


def test_hidden_files_and_folders_are_skipped_and_counted(run_stub, scripted, tmp_path):
    (tmp_path / ".git").mkdir()
    for name in ("a.png", ".b.png", ".notes", ".git/c.png", f"{STATE_NAME}-wal"):
        (tmp_path / name).write_bytes(image_file())
    done = run_stub("analyse", tmp_path, "--format", "json")
    assert (done.exit_code, len(scripted.requests)) == (0, 1)
    assert done.stderr == "skipped 3 hidden files or folders\n"
    done = run_stub("analyse", tmp_path / ".b.png", tmp_path / ".git", "--format", "json")
    assert (done.exit_code, done.stderr, len(scripted.requests)) == (0, "", 3)
