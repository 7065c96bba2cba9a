"""The table of annotated faces on web photographs: annotations, splits and errors."""

import numpy as np
import pytest

from training.data.split import DataError
from training.data.wild import Reading, by_image, read_wild, target
from training.ferplus_labels import LABELS

HEAD = "image,x1,y1,x2,y2,detector_confidence,expw_label,split,reader1,sure1,reader2,sure2\n"


def write(folder, *rows):
    (folder / "expw").mkdir()
    (folder / "expw" / "faces.csv").write_text(HEAD + "".join(f"{row}\n" for row in rows))


def test_faces_of_a_split_are_read_with_both_readings(tmp_path):
    write(
        tmp_path,
        "images/a.webp,1,2,11,12,50,fear,train,surprise,1,fear,0",
        "images/b.webp,1,2,11,12,50,fear,val,anger,1,anger,1",
        "images/c.webp,1,2,11,12,50,fear,val,,,,",
    )
    (trained,) = read_wild(tmp_path, "train")
    assert trained.path == tmp_path / "expw" / "images" / "a.webp"
    assert trained.readings == (Reading("surprise", True), Reading("fear", False))
    assert trained.agreed is None
    assert not trained.sure
    agreed, unlabelled = read_wild(tmp_path, "val")
    assert (agreed.agreed, agreed.sure) == ("anger", True)
    assert (unlabelled.agreed, unlabelled.sure, unlabelled.readings) == (None, False, ())


def test_faces_of_an_image_with_a_validation_face_are_not_training_data(tmp_path):
    write(
        tmp_path,
        "images/a.webp,1,2,11,12,50,fear,train,surprise,1,surprise,0",
        "images/a.webp,20,2,31,12,50,fear,val,anger,1,anger,1",
        "images/b.webp,1,2,11,12,50,fear,train,,,,",
    )
    assert [face.path.name for face in read_wild(tmp_path, "train")] == ["b.webp"]
    assert [face.box.x1 for face in read_wild(tmp_path, "val")] == [20]


def test_faces_are_grouped_by_image_in_their_order(tmp_path):
    rows = [f"images/{name}.webp,{x},2,90,12,50,fear,train,,,," for x, name in enumerate("bab")]
    write(tmp_path, *rows)
    groups = by_image(read_wild(tmp_path, "train"))
    assert [path.stem for path in groups] == ["b", "a"]
    assert [[face.box.x1 for face in faces] for faces in groups.values()] == [[0, 2], [1]]


def test_two_unclear_readings_give_no_label(tmp_path):
    write(tmp_path, "images/a.webp,1,2,11,12,50,fear,train,unclear,1,unclear,1")
    (face,) = read_wild(tmp_path, "train")
    assert face.agreed is None
    assert not target(face.readings).any()


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("images/a.webp,1,2,11,12,50,fear,train,joy,1,fear,0", "'joy' is not an emotion"),
        ("images/a.webp,1,2,1,12,50,fear,train,fear,1,fear,0", "x1 < x2"),
        ("images/a.webp,1,b,1,12,50,fear,train,fear,1,fear,0", "could not convert"),
    ],
)
def test_invalid_row_is_rejected(tmp_path, row, complaint):
    write(tmp_path, row)
    with pytest.raises(DataError, match=complaint):
        read_wild(tmp_path, "train")


def test_missing_table_is_rejected(tmp_path):
    with pytest.raises(DataError, match=r"faces\.csv"):
        read_wild(tmp_path, "train")


def test_targets_depend_on_both_readings_and_their_certainty():
    surprise, fear = LABELS.index("surprise"), LABELS.index("fear")
    both = target((Reading("surprise", True), Reading("fear", False)))
    assert both.sum() == pytest.approx(1)
    assert both[surprise] > both[fear] > 0.3
    one = target((Reading("surprise", True), Reading("unclear", True)))
    assert one.argmax() == surprise
    assert one[surprise] > 0.9
    sure, doubtful = (target((Reading("fear", each),) * 2)[fear] for each in (True, False))
    assert sure > doubtful > 0.5
    assert np.array_equal(target(()), np.zeros(8, np.float32))
