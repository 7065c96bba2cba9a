"""A program that uses the generated package: it posts images, reads faces, lists stored images and
reads a problem document. It prints JSON, which test_generated_clients.py checks.

Usage: PYTHONPATH=<folder of the package> python program.py <url> <photo>
"""

import json
import sys
from pathlib import Path

from emotion_api import Client
from emotion_api.api.images import get_image, get_images, get_kept_picture, post_images
from emotion_api.api.models import get_pipelines
from emotion_api.models import Batch, Face, FullFace, Image, MultipartBody, PostImagesView, Problem
from emotion_api.types import File

url, photo = sys.argv[1:]
data = Path(photo).read_bytes()


def post(*images, **options):
    files = [File(payload=image, file_name="astronaut.jpg") for image in images]
    return post_images.sync(client=client, body=MultipartBody(image=files), **options)


def happiness(face):
    if isinstance(face, Face):
        return face["happiness"]
    return face.emotions["happiness"]


with Client(base_url=url) as client:
    one = post(data, threshold=0.25)
    assert isinstance(one, Image)
    assert all(isinstance(face, Face) for face in one.faces)
    full = post(data, view=PostImagesView.FULL)
    assert isinstance(full, Image)
    assert all(isinstance(face, FullFace) for face in full.faces)
    batch = post(data, b"no image")
    assert isinstance(batch, Batch)
    raw = post_images.sync(client=client, body=File(payload=data))
    assert isinstance(raw, Image)
    listed = get_images.sync(client=client, page_size=1)
    problem = get_image.sync(image_id=999, client=client)
    assert isinstance(problem, Problem)
    rejected = post_images.sync(client=client, body=File(payload=b"no image"))
    assert isinstance(rejected, Problem)
    stored_file = get_kept_picture.sync(image_id=one.id, client=client)
    assert isinstance(stored_file, File)
    sys.stdout.write(
        json.dumps(
            {
                "threshold": one.threshold,
                "happiness": [happiness(face) for face in one.faces],
                "fullHappiness": [happiness(face) for face in full.faces],
                "batch": [
                    len(batch.images),
                    [[error.index, error.status] for error in batch.errors],
                ],
                "listed": len(listed.images),
                "more": listed.next_cursor is not None,
                "problem": [problem.status, problem.type_],
                "titles": [each.title for each in get_pipelines.sync(client=client).pipelines],
                "file": stored_file.payload.read() == data,
                "rejected": [rejected.status, [error.field for error in rejected.errors]],
            }
        )
    )
