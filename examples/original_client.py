"""The unchanged request of the original service's client. This service supports the same path.

URL=http://… KEY=emo_… python examples/original_client.py photo.jpg
"""

import base64
import json
import os
import sys
from pathlib import Path

import requests

url = os.environ.get("URL", "http://127.0.0.1:5000") + "/index"
photo = Path(sys.argv[1])
payload = {
    "image": base64.b64encode(photo.read_bytes()).decode("utf8"),
    "threshold": 0.5,
    "file_name": photo.name,
}
headers = {"Content-type": "application/json", "Accept": "text/plain"}
if key := os.environ.get("KEY"):  # the only addition: an API key, if the service requires one
    headers["Authorization"] = f"Bearer {key}"
response = requests.post(url, data=json.dumps(payload), headers=headers, timeout=60)
print(response.status_code, response.json())
