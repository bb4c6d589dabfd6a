"""What of a log is masked, and how far it may be shown meanwhile."""

import base64
import json
import os
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest

from jobd.log_files import read_piece, readable_size
from jobd.log_mark import put_back_marks, read_marks
from jobd.masking import Mask, MaskedLog, prepare
from jobd.module_log import tail

VALUE = "correct-horse/battery+staple é"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7\n-----END KEY-----"


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        f"before{VALUE}behind",
        f"{VALUE}{VALUE}",
        quote(VALUE, safe=""),
        json.dumps({"key": VALUE}),
        json.dumps({"key": VALUE}, ensure_ascii=False),
        VALUE.encode().hex(),
        *(base64.b64encode(b"u:"[:count] + VALUE.encode() + b"\n").decode() for count in range(3)),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
    ],
    ids=["plain", "within", "twice", "url", "json", "json é", "hex", "base64", "base64 +1", "base64 +2", "base64 url"],
)
def test_a_value_is_masked_in_each_of_its_forms(form: str):
    """What is left of it is less than what would be refused as a secret, and not one byte is added or lost."""
    covered = Mask([VALUE]).cover(form.encode())
    assert len(covered) == len(form.encode())
    assert b"*" * 8 in covered
    for length in range(8, len(form) + 1):
        for place in range(len(form) - length + 1):
            piece = form[place : place + length].encode()
            assert piece not in covered or piece in b"beforebehind" or piece in b'{"key": "'


def test_ordinary_text_stays():
    """Nothing but the values is touched."""
    text = b"correct horse, battery staple"
    assert Mask([VALUE]).cover(text) == text


def test_each_line_of_a_key_is_masked():
    """A value of several lines is masked also when one is printed alone, or with other line ends."""
    covered = Mask([KEY]).cover(b"\r\n".join(KEY.encode().splitlines()) + b"\nAASCBKcwggSjAgEAAoIBAQC7 alone")
    assert b"MIIE" not in covered
    assert b"AASC" not in covered
    assert covered.endswith(b" alone")


class Log:
    """A log that a test writes as a module does."""

    def __init__(self, folder: Path, *values: str, limit: int = 1 << 30) -> None:
        self.path = folder / "logs/1.log"
        prepare(self.path)
        self._file = self.path.open("ab", buffering=0)
        self.masked = MaskedLog(self.path, Mask(values), limit)

    def write(self, text: str | bytes) -> None:
        self._file.write(text if isinstance(text, bytes) else text.encode())

    @property
    def shown(self) -> bytes:
        """What a reader of the log is given."""
        return read_piece(self.path, 0)[1]

    def close(self) -> None:
        self._file.close()
        self.masked.close()


@pytest.mark.parametrize("split", range(1, len(VALUE.encode())))
def test_a_value_in_two_writes_is_masked(tmp_path: Path, split: int):
    """Whatever part of a value has been written when the log is looked at, that part is shown to nobody."""
    log = Log(tmp_path, VALUE)
    log.write(b"the key is " + VALUE.encode()[:split])
    log.masked.look()
    assert log.shown == b"the key is "
    assert tail(log.path) == ("the key is ",)
    log.write(VALUE.encode()[split:] + b".\nopenjd_fail: not with " + VALUE.encode())
    reports = log.masked.look(last=True)
    size = len(VALUE.encode())
    assert reports.lines == (f"the key is {'*' * size}.",)
    assert reports.failure == f"not with {'*' * size}"
    assert log.shown == log.path.read_bytes()
    assert VALUE.encode() not in log.shown
    log.close()


@pytest.mark.parametrize(
    ("values", "writes"),
    [
        (("hunter2-dev", "hunter2-dev-PRODUCTION"), ("hunter2-dev", "-PRODUCTION")),
        (("first line\nsecond line\nQ7x=Zz",), ("first line\n", "second line\n", "Q7x=Zz")),
        (("a-short-XY", "XY-and-the-rest"), ("a-short-XY", "-and-the-rest")),
    ],
    ids=["a longer one", "line by line", "one into another"],
)
def test_a_value_that_begins_with_another_is_masked_whole(tmp_path: Path, values: tuple[str, ...], writes):
    """What is known already is not overwritten while it may be the beginning of more."""
    log = Log(tmp_path, *values)
    for text in writes:
        log.write(text)
        log.masked.look()
    log.write("\nharmless\n")
    log.masked.look(last=True)
    assert log.path.read_bytes() == b"*" * len("".join(writes)) + b"\nharmless\n"
    assert log.shown == log.path.read_bytes()
    log.close()


def test_values_without_end_do_not_hold_up_the_rest(tmp_path: Path):
    """However values follow one another, a log of them is masked, a piece of it in each turn."""
    log = Log(tmp_path, "a" * 8, "a" * 7 + "b")
    log.write("a" * (3 << 20))
    log.masked.look()
    log.write("b\n")
    log.masked.look(last=True)
    assert set(log.path.read_bytes()) == set(b"*\n")
    log.close()


def test_what_was_not_looked_through_is_not_shown(tmp_path: Path):
    """A log whose runner died before it could mask the rest is shown as far as it was masked."""
    log = Log(tmp_path, VALUE)
    log.write("first\n")
    log.masked.look()
    log.write(f"{VALUE}\n")
    log.close()
    assert log.shown == b"first\n"
    assert readable_size(log.path) is not None
    assert readable_size(log.path)[0] == 6  # type: ignore[index]
    assert tail(log.path) == ("first",)


def test_a_flood_is_masked_to_its_end(tmp_path: Path):
    """A log that is cut to its limit has no value left in it, and what follows the gap is no rest of one."""
    log = Log(tmp_path, VALUE, limit=1 << 20)
    for _ in range(40):
        log.write(f"{VALUE}\n" * 10_000)
        log.masked.look()
        log.masked.cut(1 << 20)
    log.masked.look(last=True)
    content = log.path.read_bytes()
    assert VALUE.encode() not in content
    assert VALUE.encode()[8:] not in content
    assert log.path.stat().st_blocks * 512 <= 1 << 20
    log.close()


def test_a_log_that_is_emptied_is_masked_anew(tmp_path: Path):
    """A module may cut its own log off; what it prints then is masked as what it printed first."""
    log = Log(tmp_path, VALUE)
    log.write("x" * 1000 + "\n")
    log.masked.look()
    os.truncate(log.path, 0)
    log.masked.look()
    log.write(f"{VALUE}\n")
    log.masked.look(last=True)
    assert log.shown == b"*" * len(VALUE.encode()) + b"\n"
    log.close()


def test_a_log_without_secrets_is_shown_whole(tmp_path: Path):
    """Where there is nothing to mask, nothing is held back."""
    (tmp_path / "1.log").write_bytes(b"all of it")
    assert read_piece(tmp_path / "1.log", 0) == (0, b"all of it")


def test_a_copy_shows_no_more_than_was_masked(tmp_path: Path):
    """Marks that were read before logs were copied hold for the copy, whatever was masked meanwhile."""
    log = Log(tmp_path, VALUE)
    log.write("first\n")
    log.masked.look()
    marks = read_marks(tmp_path / "logs")
    log.write(f"{VALUE}\n")
    shutil.copytree(tmp_path / "logs", tmp_path / "copy")
    prepare(tmp_path / "copy/2.log")
    (tmp_path / "copy/2.log").write_text("begun meanwhile")
    log.masked.look(last=True)
    shutil.copy(tmp_path / "logs/1.masked", tmp_path / "copy/1.masked")
    put_back_marks(tmp_path / "copy", marks)
    assert read_piece(tmp_path / "copy/1.log", 0) == (0, b"first\n")
    assert read_piece(tmp_path / "copy/2.log", 0) == (0, b"")
    log.close()
