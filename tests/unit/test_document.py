"""What the reader of documents promises: data with lines, and every hostile text refused in bounded time."""

import json
import time

import pytest

from jobd.document import Plain
from jobd.errors import InvalidDocumentError, Violation
from jobd.yaml_reader import MAX_BYTES, MAX_DEPTH, MAX_NODES, read_document


def refuse(text: bytes) -> Violation:
    """Give the one violation of a document, however it is told."""
    with pytest.raises(InvalidDocumentError) as caught:
        raise InvalidDocumentError(read_document(text).violations)
    (violation,) = caught.value.violations
    return violation


def test_every_node_knows_its_line():
    """Lines are those of the source, from 1, for keys, items and flow collections alike."""
    document = read_document(b"a: 1\nb:\n  - x\n  - c: {d: 2,\n      e: 3}\n")

    assert document.line(()) == 1
    assert document.line(("a",)) == 1
    assert document.line(("b", 0)) == 3
    assert document.line(("b", 1, "c")) == 4
    assert document.line(("b", 1, "c", "e")) == 5


def test_a_missing_place_has_the_line_of_what_is_around_it():
    """A key that is not there is told at the line of the mapping that should hold it."""
    document = read_document(b"a:\n  - b: 1\n")

    assert document.line(("a", 0, "nothing")) == 2
    assert document.line(("a", 7)) == 1
    assert document.at(("a", 0, "nothing")) is None
    assert document.at(("a", 0, "b")) == "1"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.10", 1.1), ("1", 1), ("-7", -7), ("0x10", 16), ("0o17", 15), ("1e3", 1000.0), (".5", 0.5),
        ("true", True), ("FALSE", False), ("+.inf", float("inf")), ("017", 17),
    ],
)  # fmt: skip
def test_a_plain_scalar_keeps_its_text_and_its_meaning(text, value):
    """A number or truth value is its source text, and knows what it means in the core schema of YAML 1.2."""
    read = read_document(f"key: {text}".encode()).at(("key",))

    assert isinstance(read, Plain)
    assert read == text
    assert read.value == value
    assert type(read.value) is type(value)


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "1:30", "2024-01-01", "1_000", "'1'", '"true"', "1.2.3", "0b1", "="]
)
def test_what_yaml_1_1_would_have_bent_is_text(text):
    """Words, dates, sexagesimal numbers and quoted numbers are text."""
    read = read_document(f"key: {text}".encode()).at(("key",))

    assert read == text.strip("'\"")
    assert type(read) is str


@pytest.mark.parametrize("text", ["", "~", "null", "Null"])
def test_null_is_none(text):
    """An empty value is no text."""
    assert read_document(f"key: {text}".encode()).at(("key",)) is None


def test_a_very_long_number_is_text():
    """A number of thousands of digits is not computed."""
    read = read_document(b"key: " + b"9" * 5000).at(("key",))

    assert not isinstance(read, Plain) or isinstance(read.value, float)


def test_json_is_read_with_lines():
    """A JSON document, with tabs and characters beyond 16 bits as escapes, is read like YAML."""
    text = json.dumps({"name": "😀 \\ud83d", "steps": [{"n": 1.50}, True, None]}, indent="\t")

    document = read_document(text.encode())

    assert document.at(("name",)) == "😀 \\ud83d"
    assert document.at(("steps", 0, "n")) == "1.5"
    assert document.at(("steps", 1)) == "true"
    assert document.line(("steps", 0, "n")) == 5


def test_a_byte_order_mark_is_skipped():
    """An editor's byte order mark changes nothing."""
    assert read_document(b"\xef\xbb\xbfa: b").at(("a",)) == "b"


@pytest.mark.parametrize(
    ("text", "path", "line", "message"),
    [
        (b"", "", 1, "the document is empty"),
        (b"# only\n\n# comments\n", "", 1, "the document is empty"),
        (b"a: 1\n\x00\x01", "", 2, "binary"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "", 3, "binary"),
        (b"a: 1\nb: \xff\xfe", "", 2, "not UTF-8"),
        ("a: é".encode("utf-16"), "", 1, "binary"),
        (b"a: 1\nb: \x07", "", 2, "control characters are not allowed"),
        (b"x: y\na: b: c", "", 2, "mapping values are not allowed"),
        (b"a: 1\n\tb: 2", "", 2, "not valid YAML"),
        (b"a:\n  - 'open\n", "", 3, "unexpected end of stream"),
        (b"a: [1, 2", "", 1, "not valid YAML"),
        (b"a: &x 1\nb: *x", "a", 1, "anchors and aliases"),
        (b"a: *x", "a", 1, "anchors and aliases"),
        (b"a: 1\nb: [1, *x]", "b[1]", 2, "anchors and aliases"),
        (b"a: &x\n  b: *x\n", "a", 1, "anchors and aliases"),
        (b"a: !!python/object/apply:os.system [x]", "a", 1, "tags"),
        (b"a: !x 1", "a", 1, "tags"),
        (b"a: ! 1", "a", 1, "tags"),
        (b"--- !!map\na: 1", "", 1, "tags"),
        (b"a: 1\n---\nb: 2", "", 2, "a second document"),
        (b"? [a]\n: 1", "", 1, "a key must be text"),
        (b"{{a: 1}: 2}", "", 1, "a key must be text"),
        (b"a:\n  b: 1\n  b: 2", "a.b", 3, "stands here twice"),
        (b'{"a": 1, "a": 2}', "a", 1, "stands here twice"),
        (b'"x y": 1\n"x y": 1', '["x y"]', 2, "stands here twice"),
    ],
)  # fmt: skip
def test_what_is_no_plain_document_is_refused(text, path, line, message):
    """The violation says what, and where."""
    violation = refuse(text)

    assert (violation.path, violation.line) == (path, line)
    assert message in violation.message


def test_soft_violations_are_collected():
    """What does not keep a document from being read is told together, and the first of two equal keys counts."""
    document = read_document(b'a: 1\na: 2\nb: "\\0"\n~: 3\n')

    assert [(violation.path, violation.line) for violation in document.violations] == [("a", 2), ("b", 3), ("", 4)]
    assert document.at(("a",)) == "1"


def test_a_tab_is_explained():
    """The commonest mistake has its own hint."""
    assert "tabs" in refuse(b"a:\n\t- 1").hint


def laughs() -> bytes:
    rows = [b"a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    rows += [b"a%d: &a%d [%s]" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 9)]
    return b"\n".join(rows)


HOSTILE = {
    "too large": (b"a" * (MAX_BYTES + 1), "at most"),
    "50 MB": (b"- a\n" * (50 * 1024 * 1024 // 4), "at most"),
    "billion laughs": (laughs(), "anchors"),
    "deep lists": (b"[" * 500_000, "deep"),
    "deep block lists": (b"- " * 500_000, "deep"),
    "deep mappings": (b"{a: " * 500_000, "deep"),
    "deep keys": (b"? " * 500_000, "a key must be text"),
    "one level too deep": (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deep"),
    "too many items": (b"- a\n" * (MAX_NODES + 1), "more than"),
    "commas": (b"[" + b"," * 1000, "not valid YAML"),
    "endless text": (b"'" + b"x\n" * 900_000, "unexpected end of stream"),
    "documents": (b"---\n" * 500_000, "second document"),
}


@pytest.mark.size
@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_is_refused_quickly(text, message):
    """A bomb costs neither time nor memory beyond what its own size does."""
    start = time.process_time()

    violation = refuse(text)

    assert message in f"{violation.message} {violation.hint}"
    assert len(violation.path) < 1000
    assert time.process_time() - start < 5


def test_the_deepest_and_the_largest_allowed_are_read(monkeypatch):
    """The limits themselves are inside, and keys count like values."""
    assert read_document(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).violations == ()

    monkeypatch.setattr("jobd.yaml_reader.MAX_NODES", 101)
    assert len(read_document(b"- a\n" * 100).root) == 100
    assert len(read_document(b"".join(b"k%d: a\n" % number for number in range(50))).root) == 50
    assert "101 keys and values" in refuse(b"".join(b"k%d: a\n" % number for number in range(51))).message
