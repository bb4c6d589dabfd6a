"""What may reach a terminal, and what a terminal can do."""

import os
import re
import sys
from typing import TextIO

_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f"  # C0 without the tab, DEL, C1
    "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, bidirectional
    "\U000e0000-\U000e007f\ud800-\udfff]"  # tags, lone surrogates
)


def escape(text: str) -> str:
    r"""Show what could move the cursor, recolour, reorder or hide text as `\x1b` or `\u202e`; line ends as well."""
    return _UNSAFE.sub(lambda match: spell(match.group()), text)


def escape_bytes(data: bytes) -> str:
    r"""Show bytes as safe text: bytes that are no UTF-8 come as `\xff`, the rest as `escape()` has it."""
    return escape(data.decode("utf-8", errors="backslashreplace"))


def can_redraw(stream: TextIO) -> bool:
    """Tell whether a live view can be drawn: a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}


def say(text: str = "") -> None:
    """Print a line for a person on standard error."""
    print(text, file=sys.stderr, flush=True)


def spell(character: str) -> str:
    r"""Write one character as `\x1b`, `\u202e` or `\U000e0001`."""
    number = ord(character)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
