"""File names of clients: which part is stored, and how a filter finds them again.

A stored name is the last component of the client's path, in Unicode normalization form C. All
characters are kept except those that displays or databases do not handle safely: control characters
(category Cc, NUL among them), lone surrogates, line and paragraph separators and the bidirectional
overrides U+202D and U+202E, which make a name look like another one. Each of these becomes U+FFFD.
Spaces of any kind, joiners and direction marks stay.
"""

import re
import unicodedata
from urllib.parse import unquote, urlsplit

from werkzeug.datastructures import FileStorage
from werkzeug.http import parse_options_header

from app.store.records import LONGEST_FILE_NAME, normalized_name

UNNAMED = "unnamed"
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202d\u202e]")
_SEPARATOR = re.compile(r"[/\\]")

# One parameter of a Content-Disposition header, its value not unescaped.
_PARAMETER = re.compile(r""";\s*([^\s=;"]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^;"]*))""", re.DOTALL)
# An extended value without a text: only a charset and a language. Werkzeug returns it unchanged.
_EMPTY_EXTENDED = re.compile(r"([\w-]*'[\w-]*')?\s*", re.ASCII)
# Older Windows clients send a path with single backslashes; other clients escape each backslash
# with a second one. A backslash before a quote is always an escape: Windows allows no quotes in
# names.
_RAW_SEPARATOR = re.compile(r'/|\\\\|\\(?!")')

_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
_LONGEST_CHARACTER = 32  # code points of one visible character; longer sequences are cut anywhere


def stored_name(given: str | None) -> str:
    """The name that is stored for `given`, which may be a path; at most 255 characters.

    A blank name, or one without a last component (`photos/`, `..`), is stored as "unnamed".
    """
    name = normalized_name(replace_unsafe(_SEPARATOR.split(given or "")[-1]))
    if name.isspace() or name in ("", ".", ".."):
        return UNNAMED
    return _shortened(name, LONGEST_FILE_NAME)


def replace_unsafe(text: str) -> str:
    """`text` with U+FFFD in place of each character that is never stored."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def name_of_part(part: FileStorage) -> str | None:
    """The file name of a multipart part, without its path; None if it has none.

    Reads the raw header. Werkzeug takes every backslash for an escape, so it would turn
    `C:\\Users\\me\\new.jpg` into `Usersmenew.jpg` and keep the name of the user.
    """
    header = part.headers.get("Content-Disposition", "")
    found = {match[1].lower(): match for match in _PARAMETER.finditer(header)}
    # filename*, with a charset or in pieces (RFC 2231), is preferred (RFC 6266). It has no escapes.
    extended = [found[key] for key in found if key.startswith("filename*")]
    if not _EMPTY_EXTENDED.fullmatch("".join(each[2] or each[3] or "" for each in extended)):
        parameters = "".join(each[0] for each in extended)
        return parse_options_header(f"form-data{parameters}")[1].get("filename")
    if "filename" not in found:
        return None if extended else part.filename
    quoted, plain = found["filename"].group(2, 3)
    raw = plain.rstrip() if quoted is None else quoted
    last = _RAW_SEPARATOR.split(raw)[-1]
    return last.replace('\\"', '"').replace("%22", '"')


def name_of_url(url: str) -> str:
    """The last component of a URL's path, percent-decoded. Raises ValueError for an invalid URL."""
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def _shortened(name: str, most: int) -> str:
    """The first `most` characters, fewer where that would cut a visible character in two."""
    if len(name) <= most:
        return name
    end = most
    while end > most - _LONGEST_CHARACTER and _joined(name, end):
        end -= 1
    return name[: end if end > most - _LONGEST_CHARACTER else most]


def _joined(name: str, at: int) -> bool:
    """Whether `name[at]` belongs to the character before it: a combining mark, a variation
    selector, a skin tone, something after a joiner, the second letter of a flag."""
    char = name[at]
    if char == _ZERO_WIDTH_JOINER or name[at - 1] == _ZERO_WIDTH_JOINER:
        return True
    if unicodedata.category(char) in ("Mn", "Mc", "Me") or ord(char) in _SKIN_TONES:
        return True
    flags = 0
    while flags < at and ord(name[at - 1 - flags]) in _FLAG_LETTERS:
        flags += 1
    return ord(char) in _FLAG_LETTERS and flags % 2 == 1
