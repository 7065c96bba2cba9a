"""POST /index: the request of the original client."""

import base64
import json

from tests.conftest import image_file


def test_post_index_accepts_request_of_original_client(client):
    """client.py of kurshakuz/emotion_recognition sends JSON and accepts text."""
    body = json.dumps(
        {
            "image": base64.b64encode(image_file(50, gray=250)).decode("utf8"),
            "threshold": 0.1,
            "file_name": "test.jpg",
        }
    )
    headers = {"Content-type": "application/json", "Accept": "text/plain"}
    response = client.post("/index", data=body, headers=headers)
    assert response.status_code == 200
    document = json.loads(response.get_data(as_text=True))
    assert document["message"] == "image received"
    assert document["file_name"] == "test.jpg"
    assert document["threshold"] == 0.1
    (stored,) = client.get("/v1/images").json["images"]
    assert stored == {key: value for key, value in document.items() if key != "message"}
