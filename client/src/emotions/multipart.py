"""Encodes multipart forms so that the service reads every file name unchanged."""

import re
from collections.abc import Mapping
from urllib.parse import quote

from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

# Characters that clients and servers escape in different ways in quoted file names, such as "%".
_UNSAFE = re.compile(r"""[^ !#$&'()+,\-.0-9;=@A-Z\[\]^_`a-z{}~]""")


def encode_form(
    fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]
) -> tuple[bytes, str]:
    """Return the body and its Content-Type. `files` maps a field to its file name and content."""
    parts = [_part(name, text, None) for name, text in fields.items()]
    parts += [_part(name, content, file_name) for name, (file_name, content) in files.items()]
    return encode_multipart_formdata(parts)


def _part(field: str, content: str | bytes, file_name: str | None) -> RequestField:
    headers = {"Content-Disposition": _disposition(field, file_name)}
    return RequestField(field, content, headers=headers)


def _disposition(field: str, file_name: str | None) -> str:
    if file_name is None:
        return f'form-data; name="{field}"'
    safe = _UNSAFE.sub("_", file_name)
    disposition = f'form-data; name="{field}"; filename="{safe}"'
    if safe != file_name:  # RFC 8187
        disposition += f"; filename*=UTF-8''{quote(file_name, safe='')}"
    return disposition
