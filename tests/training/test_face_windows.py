"""Windows of the cascade in a real image, labelled by given boxes."""

import shutil

import pytest

from app.settings import ROOT
from training.data import face_windows
from training.data.photos import PhotosError

PHOTO = ROOT / "docs" / "astronaut.jpg"
FACE = "178,66,273,161"  # the face of Eileen Collins


@pytest.fixture
def photos(tmp_path):
    """A folder with one image in the split train. Tests add the faces."""
    (tmp_path / "natural").mkdir()
    shutil.copy(PHOTO, tmp_path / "natural" / "a.jpg")
    (tmp_path / "images.csv").write_text("image,split\nnatural/a.jpg,train\n")
    return tmp_path


def write_faces(photos, *rows):
    text = "\n".join(["image,x1,y1,x2,y2,label,condition", *rows])
    (photos / "faces.csv").write_text(text + "\n")


def test_only_windows_on_faces_are_labelled_as_faces(photos):
    write_faces(photos, f"natural/a.jpg,{FACE},sure,")
    windows = face_windows.read(photos, "train", size=32)
    assert windows.crops.shape == (len(windows.is_face), 32, 32)
    assert windows.is_face.sum() == len(face_windows.MIN_FACE_SHARES)
    write_faces(photos)
    assert len(windows.is_face) == len(face_windows.read(photos, "train", size=32).is_face)
    assert not face_windows.read(photos, "train", size=32).is_face.any()


def test_windows_on_unsure_faces_are_left_out(photos):
    write_faces(photos)
    everything = face_windows.read(photos, "train", size=32)
    write_faces(photos, f"natural/a.jpg,{FACE},unsure,")
    left = face_windows.read(photos, "train", size=32)
    assert len(left.is_face) == len(everything.is_face) - len(face_windows.MIN_FACE_SHARES)


def test_split_without_windows_raises_photos_error(photos):
    write_faces(photos)
    with pytest.raises(PhotosError, match="no windows"):
        face_windows.read(photos, "val", size=32)
