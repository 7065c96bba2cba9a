"""File names that clients send, normalized for storage and for filters.

A stored name is the last component of the client's path, in Unicode normalization form C. U+FFFD
replaces the characters that displays or databases do not handle safely: control characters
(category Cc, including NUL), lone surrogates, line and paragraph separators, and the bidirectional
overrides U+202D and U+202E, which make a name look like a different name. All other characters are
stored unchanged, including all kinds of spaces, joiners and direction marks.
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

# One parameter of a Content-Disposition header. The value is still escaped.
_PARAMETER = re.compile(r""";\s*([^\s=;"]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^;"]*))""", re.DOTALL)
# An extended value (RFC 8187) with an empty text: it consists of a charset and a language only.
# Werkzeug returns such a value unchanged.
_EMPTY_EXTENDED = re.compile(r"([\w-]*'[\w-]*')?\s*", re.ASCII)
# Older Windows clients send a path with single backslashes, for example C:\a.jpg. Other clients
# escape each backslash: C:\\a.jpg. A backslash before a quote is always an escape, because Windows
# names contain no quotes.
_RAW_SEPARATOR = re.compile(r'/|\\\\|\\(?!")')

_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
# Maximum length of a visible character in code points. Longer sequences may be split.
_MAX_CHARACTER = 32


def stored_name(client_name: str | None) -> str:
    """Return the name to store for a client's file name or path: at most 255 characters.

    The result is "unnamed" for a blank name and for a path without a last component (`photos/`,
    `..`).
    """
    name = normalized_name(replace_unsafe(_SEPARATOR.split(client_name or "")[-1]))
    if name.isspace() or name in ("", ".", ".."):
        return UNNAMED
    return _truncated(name, LONGEST_FILE_NAME)


def replace_unsafe(text: str) -> str:
    """Replace each character that is never stored by U+FFFD."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def name_of_part(part: FileStorage) -> str | None:
    """Return the file name of a multipart part without its path; None if the part has no name.

    Reads the raw header, because Werkzeug treats every backslash as an escape: it would turn
    `C:\\Users\\me\\new.jpg` into `Usersmenew.jpg`, which contains the name of the user.
    """
    header = part.headers.get("Content-Disposition", "")
    parameters = {match[1].lower(): match for match in _PARAMETER.finditer(header)}
    # RFC 6266 prefers filename*, which has a charset and may be in pieces (RFC 2231). It has no
    # escapes.
    extended = [match for name, match in parameters.items() if name.startswith("filename*")]
    if not _EMPTY_EXTENDED.fullmatch("".join(each[2] or each[3] or "" for each in extended)):
        extended_header = "form-data" + "".join(each[0] for each in extended)
        return parse_options_header(extended_header)[1].get("filename")
    if "filename" not in parameters:
        return None if extended else part.filename
    quoted, plain = parameters["filename"].group(2, 3)
    raw = plain.rstrip() if quoted is None else quoted
    last = _RAW_SEPARATOR.split(raw)[-1]
    return last.replace('\\"', '"').replace("%22", '"')


def name_of_url(url: str) -> str:
    """Return the last component of the path of a URL, percent-decoded.

    Raises ValueError for an invalid URL.
    """
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def _truncated(name: str, max_length: int) -> str:
    """Truncate a name to `max_length` characters without splitting a visible character."""
    if len(name) <= max_length:
        return name
    end = max_length
    while end > max_length - _MAX_CHARACTER and _continues_character(name, end):
        end -= 1
    return name[: end if end > max_length - _MAX_CHARACTER else max_length]


def _continues_character(name: str, index: int) -> bool:
    """Return whether `name[index]` is part of the visible character before it.

    This holds for a combining mark, a variation selector, a skin tone, the character after a
    joiner, and the second letter of a flag.
    """
    char = name[index]
    if char == _ZERO_WIDTH_JOINER or name[index - 1] == _ZERO_WIDTH_JOINER:
        return True
    if unicodedata.category(char) in ("Mn", "Mc", "Me") or ord(char) in _SKIN_TONES:
        return True
    flag_letters = 0
    while flag_letters < index and ord(name[index - 1 - flag_letters]) in _FLAG_LETTERS:
        flag_letters += 1
    return ord(char) in _FLAG_LETTERS and flag_letters % 2 == 1
