"""What `-o yaml` writes: YAML that any reader takes for the same data."""

import math
import sys

import pytest
import yaml
from jobctl.yaml_output import dump_yaml

AWKWARD = [
    *("", " ", "no", "~", "1.5", "2026-01-31", "- a", "a: b", "# no comment", "'", '"', "\\", "a\nb\n", "\ttab"),
    *("\x00\x1b[2J\x7f", "\u202e\u2028\ufeff\ufffe", "ünïcode 日本 🎬", "\U000e0001"),
    *("%x", "{}", "[]", "|", ">", "&a", "*a", "!t", "@", "`"),
]


@pytest.mark.parametrize("text", AWKWARD)
def test_every_text_is_read_back_as_it_was(text):
    """No text is taken for anything else, as a value, in a list, or as a key; and none moves a cursor."""
    data = {"value": text, "list": [text, [text]], "map": {text: text}}
    written = dump_yaml(data)

    assert data == yaml.safe_load(written)
    assert all(line.isprintable() for line in written.splitlines())


@pytest.mark.parametrize(
    "data",
    [
        None, True, 0, -5, 2**63, 0.1, 1e-7, 1.5e300, 1e16, sys.float_info.max, math.pi, [], {}, [[], {}, [1]],
        {"a": [], "b": {}, "c": [{"d": 1, "e": [{"f": None}]}]}, {"y": 1, "off": 2, "null": 3, "A b": 4},
    ],
)  # fmt: skip
def test_every_value_is_read_back_as_it_was(data):
    """Numbers stay numbers, empty things stay what they are, and nesting is kept."""
    read = yaml.safe_load(dump_yaml(data))

    assert data == read
    assert type(data) is type(read)


def test_it_is_written_for_people():
    """Things stand in block style with plain keys."""
    data = {"jobs": [{"id": "j1", "labels": {}, "entries": [{"attempt": 1}]}]}

    assert dump_yaml(data).splitlines() == [
        "jobs:", '  - id: "j1"', "    labels: {}", "    entries:", "      - attempt: 1",
    ]  # fmt: skip
