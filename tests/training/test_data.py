"""The three layouts of labelled faces. Does not need torch."""

import csv
import zipfile

import numpy as np
import pytest

from tests.conftest import image_file
from training.data import SPLITS, DataError, first_of_each, read_split
from training.votes import LABELS

ROWS = [
    # name, votes: neutral happiness surprise sadness anger disgust fear contempt unknown nf
    ("a.png", [1, 9, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("b.png", [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("c.png", [0, 0, 0, 0, 0, 0, 0, 0, 4, 6]),
]
VOTES = [votes for _, votes in ROWS]
GRAYS = [0, 10, 20]


def write_ferplus(data, name="FER2013Train"):
    folder = data / name
    folder.mkdir(parents=True)
    for gray, (file_name, _) in zip(GRAYS, ROWS, strict=True):
        (folder / file_name).write_bytes(image_file(48, 48, gray=gray))
    lines = [f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}' for name, votes in ROWS]
    (folder / "label.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_csvs(data, usages=("Training", "Training", "Training")):
    data.mkdir(exist_ok=True)
    with (data / "fer2013.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        for usage, gray in zip(usages, GRAYS, strict=True):
            writer.writerow([0, " ".join([str(gray)] * 48 * 48), usage])
    with (data / "fer2013new.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Usage", "Image name", *LABELS, "unknown", "NF"])
        for usage, (name, votes) in zip(usages, ROWS, strict=True):
            writer.writerow([usage, name, *votes])


@pytest.mark.parametrize("size", [48, 64])
def test_all_layouts_of_the_same_images_give_the_same_split(tmp_path, size):
    folder = write_ferplus(tmp_path / "folder")
    (tmp_path / "zip").mkdir()
    with zipfile.ZipFile(tmp_path / "zip" / "FER2013Train.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"FER2013Train/{file.name}")
    write_csvs(tmp_path / "csv")
    for layout in ("folder", "zip", "csv"):
        split = read_split(tmp_path / layout, "train", size=size)
        assert split.crops.shape == (3, size, size)
        assert [crop[0, 0] for crop in split.crops] == GRAYS
        assert split.votes.tolist() == VOTES
        assert len(set(split.digests)) == 3
    assert (split.digests == read_split(tmp_path / "zip", "train", size=48).digests).all()


def test_rows_of_a_table_are_assigned_to_splits_without_dropped_rows(tmp_path):
    write_csvs(tmp_path, ("PublicTest", "Training", "PublicTest"))
    assert [len(read_split(tmp_path, split, size=48)) for split in ("train", "valid")] == [1, 2]
    with pytest.raises(DataError, match="PrivateTest"):
        read_split(tmp_path, "test", size=48)
    text = (tmp_path / "fer2013new.csv").read_text().replace("a.png", "")
    (tmp_path / "fer2013new.csv").write_text(text)
    assert len(read_split(tmp_path, "valid", size=48)) == 1


def test_class_folders_give_ten_votes_and_accept_other_names(tmp_path):
    for name, gray in (("happiness", 50), ("Angry", 60)):
        (tmp_path / "test" / name).mkdir(parents=True)
        (tmp_path / "test" / name / "x.jpg").write_bytes(
            image_file(100, 80, gray=gray, kind="JPEG")
        )
    split = read_split(tmp_path, "test", size=48)
    assert [int(row.argmax()) for row in split.votes] == [
        LABELS.index("anger"),
        LABELS.index("happiness"),
    ]
    assert (split.votes.sum(axis=1) == 10).all()
    assert abs(int(split.crops[0, 24, 24]) - 60) <= 2


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("happy", "happiness"),
        ("surprised", "surprise"),
        ("sad", "sadness"),
        ("angry", "anger"),
        ("disgusted", "disgust"),
        ("fearful", "fear"),
        *((label, label) for label in LABELS),
    ],
)
def test_each_name_of_a_class_is_accepted(tmp_path, folder, label):
    (tmp_path / "train" / folder).mkdir(parents=True)
    (tmp_path / "train" / folder / "a.png").write_bytes(image_file(48, 48))
    (votes,) = read_split(tmp_path, "train", size=48).votes
    assert votes.argmax() == LABELS.index(label)


def test_first_of_each_keeps_the_first_of_equal_images():
    digests = np.array(["x", "y", "x", "z", "y"])
    assert first_of_each(digests).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("split", SPLITS)
def test_folder_without_a_layout_raises_an_error_that_names_all_layouts(tmp_path, split):
    with pytest.raises(DataError, match=r"FER2013.*fer2013\.csv.*class folders"):
        read_split(tmp_path, split, size=48)


def test_invalid_zip_and_folder_without_labels_are_rejected(tmp_path):
    (tmp_path / "FER2013Test.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        read_split(tmp_path, "test", size=48)
    (tmp_path / "FER2013Train").mkdir()
    with pytest.raises(DataError, match=r"no label\.csv"):
        read_split(tmp_path, "train", size=48)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a.png", "line 1"),
        ('a.png,"(0, 0, 48, 48)",1,2,3', "3 vote columns"),
        ('a.png,"(0, 0, 48)",' + ",".join("0" * 10), "line 1"),
        ('z.png,"(0, 0, 48, 48)",' + ",".join("0" * 10), "z.png is missing"),
        ('a.png,"(0, 0, 48, 48)",' + ",".join("x" * 10), "line 1"),
        ('a.png,"(90, 90, 99, 99)",' + ",".join("0" * 10), "a.png is no picture"),
    ],
)
def test_invalid_line_of_labels_is_rejected(tmp_path, line, complaint):
    (write_ferplus(tmp_path) / "label.csv").write_text(line)
    with pytest.raises(DataError, match=complaint):
        read_split(tmp_path, "train", size=48)


def test_broken_image_is_rejected(tmp_path):
    (write_ferplus(tmp_path) / "b.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"b\.png is no picture"):
        read_split(tmp_path, "train", size=48)


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("fer2013.csv", "10 10", "10 300", "line 3"),
        ("fer2013.csv", "10 10", "10", "line 3"),
        ("fer2013.csv", "pixels", "picture", "line 2"),
        ("fer2013new.csv", "contempt", "pride", "line 2"),
        ("fer2013new.csv", "Training,b.png", "PublicTest,b.png", "line 3"),
        ("fer2013new.csv", "c.png,0", "c.png,many", "line 4"),
        ("fer2013new.csv", "Training,c.png,0,0,0,0,0,0,0,0,4,6", "", "differ in length"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(tmp_path, file, old, new, complaint):
    write_csvs(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1).rstrip() + "\n")
    with pytest.raises(DataError, match=complaint):
        read_split(tmp_path, "train", size=48)


def test_missing_table_is_rejected(tmp_path):
    write_csvs(tmp_path)
    (tmp_path / "fer2013new.csv").unlink()
    with pytest.raises(DataError, match=r"fer2013new\.csv cannot be read"):
        read_split(tmp_path, "train", size=48)


def test_unknown_class_folder_and_broken_image_are_rejected(tmp_path):
    (tmp_path / "train" / "joy").mkdir(parents=True)
    with pytest.raises(DataError, match="joy is no class"):
        read_split(tmp_path, "train", size=48)
    (tmp_path / "train" / "joy").rename(tmp_path / "train" / "happy")
    with pytest.raises(DataError, match="no class folders with pictures"):
        read_split(tmp_path, "train", size=48)
    (tmp_path / "train" / "happy" / "a.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"a\.png is no picture"):
        read_split(tmp_path, "train", size=48)
