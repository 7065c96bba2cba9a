"""Images for the benchmarks: photographs in camera sizes, and three example images."""

from pathlib import Path

from testbed.camera_images import camera_images
from training.data.photos import read_photographs

MEGAPIXELS = (0.3, 1, 4, 16)
EXAMPLES = ("angry.jpeg", "happy.jpeg", "test.jpg")


def example_images(data: Path) -> list[bytes]:
    """The files of the example images. Raises OSError."""
    return [(data / "seed-examples" / name).read_bytes() for name in EXAMPLES]


def photographs(data: Path, megapixels: float) -> list[bytes]:
    """JPEG files of photographs with faces, enlarged to `megapixels`.

    The largest original photograph has 0.3 megapixels. Raises PhotosError.
    """
    natural = read_photographs(data / "photos", "natural", split=None)
    faces = (each.path for each in natural if any(face.sure for face in each.faces))
    return camera_images(faces, megapixels)
