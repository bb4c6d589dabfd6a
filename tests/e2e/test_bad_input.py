"""Everything that can be wrong with a job is told before anything is stored."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

GOOD = (ROOT / "examples/minimal.yaml").read_text()
ENTRY = """
      - module: example_module
        input_artifacts: [{{name: {uses}, param_name: input, type: video}}]
        output_artifacts: [{{name: {makes}, param_name: output, type: audio}}]"""


def chain(*steps: tuple[tuple[str, str], ...]) -> bytes:
    """Make a job of entries that use and make these artifacts."""
    text = "name: chain\ninput_artifacts: [{param_name: input, type: video}]\nsteps:"
    for number, entries in enumerate(steps):
        text += f"\n  - name: s{number}\n    entries:"
        text += "".join(ENTRY.format(uses=json.dumps(uses), makes=json.dumps(makes)) for uses, makes in entries)
    return text.encode()


def change(old: str, new: str) -> bytes:
    """Change the good example in one place."""
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new).encode()


def rename(name: str) -> bytes:
    """Give the good example's output another name."""
    return change("name: audio.wav", f"name: {json.dumps(name)}")


def bomb() -> bytes:
    """Aliases that would be 10^9 nodes."""
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10))
    return f"l0: &l0 [x, x]\n{levels}\nname: *l9\n".encode()


OUTPUT = r"steps\[0\]\.entries\[0\]\.output_artifacts\[0\]"
INPUT = r"steps\[0\]\.entries\[0\]\.input_artifacts\[0\]"
CASES: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", r"empty|job"),
    "only a comment": (b"# nothing\n", r"empty|job"),
    "a binary file": (bytes(range(256)) * 40, r"UTF-8|text|character"),
    "a video": (b"\0\0\0\x18ftypmp42" + os.urandom(4000), r"UTF-8|text|character"),
    "50 MB": (b"name: x\n# " + b"x" * 50_000_000, r"2 MiB"),
    "an alias bomb": (bomb(), r":1:.*(alias|anchor)"),
    "a deep document": (b"name: " + b"[" * 100_000, r"levels|deep|nest"),
    "broken YAML": (b"name: [\nsteps: }\n", r"job\.yaml:\d+: "),
    "a tag": (b"name: !!python/object/apply:os.system [true]\n", r":1:.*tag"),
    "two documents": (GOOD.encode() + b"---\nname: second\n", r"document"),
    "a duplicate key": (change("version: 1.0", "name: again"), r":2:.*name"),
    "a list": (b"- name: x\n", r"mapping|object|keys"),
    "a word": (b"hello\n", r"mapping|object|keys"),
    "no steps": (b"name: x\n", r"steps"),
    "steps that are a word": (b"name: x\nsteps: many\n", r":2: steps: "),
    "no entries": (b"name: x\nsteps: [{name: s, entries: []}]\n", r":2: steps\[0\]\.entries: "),
    "public that is a word": (change("public: true ", "public: maybe "), rf":18: {OUTPUT}\.public: "),
    "an unknown key": (change("public: true ", "publik: true "), rf":18: {OUTPUT}\.publik: .*public"),
    "an unknown key at the top": (change("version: 1.0", "versoin: 1.0"), r":2: versoin: .*version"),
    "an unknown module": (
        change("module: example_module", "module: exampel_module"),
        r":9: steps\[0\]\.entries\[0\]\.module: .*exampel_module.*example_module",
    ),
    "a missing parameter": (
        re.sub(rb"        output_artifacts:\n(          .*\n)+", b"", GOOD.encode()),
        r":9: steps\[0\]\.entries\[0\].*output",
    ),
    "a superfluous parameter": (
        change("            param_name: output", "            param_name: outptu"),
        rf":16: {OUTPUT}\.param_name: .*outptu",
    ),
    "a parameter given twice": (
        change(
            "        output_artifacts:",
            "          - {name: v2, param_name: input, type: video}\n        output_artifacts:",
        ),
        r":14: steps\[0\]\.entries\[0\]\.input_artifacts\[1\].*input",
    ),
    "an unknown param": (
        change("      - module: example_module", "      - module: example_module\n        params: {speed: 3}"),
        r":10: steps\[0\]\.entries\[0\]\.params\.speed: ",
    ),
    "a type that the module does not make": (change("type: audio", "type: text"), rf":17: {OUTPUT}\.type: .*audio"),
    "a type that the module does not take": (
        change("            type: video", "            type: audio"),
        rf":13: {INPUT}\.type: .*video",
    ),
    "two producers": (chain((("in", "x"), ("in", "x"))), r"entries\[1\]\.output_artifacts\[0\].*x"),
    "two producers in two steps": (chain((("in", "x"),), (("in", "x"),)), r"steps\[1\].*output_artifacts\[0\].*x"),
    "a cycle": (chain((("b", "a"), ("a", "b"))), r"input_artifacts\[0\]"),
    "an entry that uses what it makes": (chain((("a", "a"),)), r"input_artifacts\[0\].*a"),
    "a consumer beside its producer": (chain((("in", "x"), ("x", "y"))), r"entries\[1\]\.input_artifacts\[0\].*step"),
    "a consumer before its producer": (chain((("x", "y"),), (("in", "x"),)), r"steps\[0\].*input_artifacts\[0\].*step"),
    "two steps of one name": (chain((("in", "x"),), (("in", "y"),)).replace(b"s1", b"s0"), r"steps\[1\]\.name: "),
    "a name with a separator": (rename("../audio.wav"), rf":15: {OUTPUT}\.name: "),
    "an absolute name": (rename("/etc/passwd"), rf":15: {OUTPUT}\.name: "),
    "a name with a backslash": (rename("a\\b"), rf":15: {OUTPUT}\.name: "),
    "the name .": (rename("."), rf":15: {OUTPUT}\.name: "),
    "the name ..": (rename(".."), rf":15: {OUTPUT}\.name: "),
    "an empty name": (rename(""), rf":15: {OUTPUT}\.name: "),
    "a leading dash": (rename("-rf"), rf":15: {OUTPUT}\.name: "),
    "a newline": (rename("a\nb"), rf":15: {OUTPUT}\.name: "),
    "a NUL": (rename("a\0b"), r":15: "),
    "a bidirectional mark": (rename("a\u202egpj.exe"), r":15: "),
    "300 bytes": (rename("x" * 300), rf":15: {OUTPUT}\.name: .*255"),
    "300 bytes in 100 characters": (rename("文" * 100), rf":15: {OUTPUT}\.name: .*255"),
    "more than the machine has": (
        change("      - module: example_module", "      - module: example_module\n        resources: {cpus: 3}"),
        r":10: steps\[0\]\.entries\[0\]\.resources.*cpus",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def nothing_stored(daemon) -> Iterator[None]:
    """All of these together leave no job behind."""
    before = daemon.jobctl("list", "--limit=0", "-o", "json").json
    yield
    assert daemon.jobctl("list", "--limit=0", "-o", "json").json == before


@pytest.fixture
def refuse(daemon, tmp_path) -> Any:
    """How to submit what must be refused; gives what was told."""

    def refuse(content: bytes, *arguments: str, command: str = "submit") -> str:
        path = tmp_path / "job.yaml"
        path.write_bytes(content)
        folders = set((daemon.state / "jobs").iterdir())
        done = daemon.jobctl(command, path, *arguments)
        assert (done.code, done.out) == (7, ""), done
        assert "Traceback" not in done.err
        assert len(done.err) < 100_000
        assert set((daemon.state / "jobs").iterdir()) == folders
        return done.err

    return refuse


@pytest.mark.parametrize("case", CASES)
def test_a_bad_job_file_is_refused_with_its_place(refuse, sample, case):
    """The exit code is 7, and standard error says what is wrong, where, with path and line."""
    content, expected = CASES[case]
    told = refuse(content, "--input", f"input={sample}")
    assert re.search(expected, told), told


@pytest.mark.parametrize("case", ["an empty file", "an alias bomb", "an unknown module", "a cycle", "300 bytes"])
def test_validate_tells_the_same(refuse, case):
    """A check without a submit ends the same way."""
    content, expected = CASES[case]
    told = refuse(content, command="validate")
    assert re.search(expected, told), told


def test_all_violations_are_told_at_once(refuse):
    """Mistakes of form and of meaning in one file are each a line, in the order of the file."""
    content = GOOD.replace("example_module", "nothing").replace("audio.wav", "../a").replace("version", "versio")
    told = refuse(content.encode(), command="validate")
    assert re.findall(r"job\.yaml:(\d+): ", told) == ["2", "9", "15"]
    assert "3 problems" in told


def test_violations_come_as_json_where_that_is_asked_for(daemon, tmp_path):
    """With -o json, scripts get path, line, message and hint."""
    (tmp_path / "job.yaml").write_bytes(CASES["an unknown module"][0])
    done = daemon.jobctl("submit", tmp_path / "job.yaml", "-o", "json")
    (violation,) = json.loads(done.err)["error"]["violations"]
    assert (done.code, violation["path"], violation["line"]) == (7, "steps[0].entries[0].module", 9)


def test_the_good_example_is_valid(daemon):
    """What the others change by one mistake has none; validate and a dry run tell so and store nothing."""
    assert daemon.jobctl("validate", ROOT / "examples/minimal.yaml").code == 0
    assert daemon.jobctl("validate", ROOT / "examples/media_report.yaml").code == 0
    dry = daemon.jobctl("submit", ROOT / "examples/media_report.yaml", "--dry-run")
    assert dry.code == 0
    assert "transcribe" in dry.out + dry.err


def test_a_job_file_that_is_missing_is_told(daemon, tmp_path):
    """A path without a file, and a folder, are refused with 7."""
    for path in (tmp_path / "none.yaml", tmp_path):
        done = daemon.jobctl("submit", path)
        assert done.code == 7
        assert str(path) in done.err


def test_a_missing_input_is_told(refuse, tmp_path):
    """No input, one that does not exist, and one that is no file are refused with the parameter's name."""
    assert "input" in refuse(GOOD.encode())
    assert f"{tmp_path}/none.mp4" in refuse(GOOD.encode(), f"--input=input={tmp_path}/none.mp4")
    os.mkfifo(tmp_path / "pipe")
    assert "pipe" in refuse(GOOD.encode(), f"--input=input={tmp_path}/pipe")


def test_an_input_that_the_job_does_not_have_is_a_usage_error(daemon, sample):
    """A misspelt --input is told with the known ones."""
    done = daemon.jobctl("submit", ROOT / "examples/minimal.yaml", f"--input=inptu={sample}")
    assert (done.code, done.out) == (2, "")
    assert "it has: input" in done.err
