"""FER+ by hand-worked votes. Needs no torch."""

import zipfile

import numpy as np
import pytest

from tests.conftest import picture
from training import ferplus

ROWS = [
    # name, votes: neutral happiness surprise sadness anger disgust fear contempt unknown nf
    ("a.png", [1, 9, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("b.png", [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("c.png", [0, 0, 0, 0, 0, 0, 0, 0, 4, 6]),
    ("d.png", [4, 1, 1, 1, 1, 0, 0, 0, 1, 1]),
]
VOTES = np.array([votes for _, votes in ROWS])


def write_split(folder, rows=ROWS):
    folder.mkdir(parents=True)
    for index, (name, _) in enumerate(rows):
        (folder / name).write_bytes(picture(48, 48, gray=10 * index))
    lines = [f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}' for name, votes in rows]
    (folder / "label.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_single_votes_are_outliers():
    assert ferplus.clean_votes(VOTES)[0].tolist() == [0, 9, 0, 0, 0, 0, 0, 0, 0, 0]


def test_majority_is_strict_and_an_emotion():
    # b has no strict majority, c's is not a face; d's 4 are all that is left once cleaned.
    assert ferplus.majority(VOTES).tolist() == [1, -1, -1, 0]


def test_all_pictures_take_the_most_voted_emotion():
    assert ferplus.most_voted(VOTES).tolist() == [1, 0, -1, 0]


def test_targets_are_distributions_of_cleaned_votes():
    usable = ferplus.usable_for_training(VOTES)
    assert usable.tolist() == [True, True, False, True]
    targets = ferplus.distribution(VOTES[usable])
    assert targets[1].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0]
    assert targets.sum(axis=1).tolist() == [1, 1, 1]


def test_the_first_of_each_picture_is_kept():
    digests = np.array(["x", "y", "x", "z", "y"])
    assert ferplus.first_of_each(digests).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("size", [48, 64])
def test_a_folder_and_a_zip_of_it_read_alike(tmp_path, size):
    folder = write_split(tmp_path / "FER2013Train")
    with zipfile.ZipFile(tmp_path / "FER2013Train.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"FER2013Train/{file.name}")
    one, other = (
        ferplus.read_split(path, size=size) for path in (folder, tmp_path / "FER2013Train.zip")
    )
    assert one.crops.shape == (4, size, size)
    assert (one.crops == other.crops).all()
    assert (one.votes == VOTES).all()
    assert [crop[0, 0] for crop in one.crops] == [0, 10, 20, 30]
    assert ferplus.split_path(tmp_path, "FER2013Train").suffix == ".zip"


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(ferplus.FerPlusError, match="no FER\\+ split"):
        ferplus.read_split(tmp_path / "nothing", size=48)
    (tmp_path / "file.zip").write_bytes(b"no zip")
    with pytest.raises(ferplus.FerPlusError, match="neither a folder nor a zip"):
        ferplus.read_split(tmp_path / "file.zip", size=48)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ferplus.FerPlusError, match=r"no label\.csv"):
        ferplus.read_split(tmp_path / "empty", size=48)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a.png", "line 1"),
        ('a.png,"(0, 0, 48, 48)",1,2,3', "3 vote columns"),
        ('a.png,"(0, 0, 48)",' + ",".join("0" * 10), "line 1"),
        ('z.png,"(0, 0, 48, 48)",' + ",".join("0" * 10), "z.png is missing"),
        ('a.png,"(0, 0, 48, 48)",' + ",".join("x" * 10), "line 1"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, complaint):
    folder = write_split(tmp_path / "split")
    (folder / "label.csv").write_text(line)
    with pytest.raises(ferplus.FerPlusError, match=complaint):
        ferplus.read_split(folder, size=48)


def test_a_broken_picture_is_named(tmp_path):
    folder = write_split(tmp_path / "split")
    (folder / "b.png").write_bytes(b"text")
    with pytest.raises(ferplus.FerPlusError, match=r"b\.png is no picture"):
        ferplus.read_split(folder, size=48)
