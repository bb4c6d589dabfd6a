"""What a job file may say, and how its artifacts wire its entries together."""

# ruff: noqa: E501 - a row of a table stays on one line

import time

import pytest

from jobd.spec import JobSpec, Wiring, read_job
from jobd.yaml_reader import read_document

EXAMPLE = b"""\
name: example_job
version: 1.0                    # any scalar, kept as text
input_artifacts:                # the job's own input files
  - param_name: input
    type: video
steps:                          # run one after another
  - name: step1
    entries:                    # run in parallel
      - module: example_module
        input_artifacts:
          - name: video.mp4
            param_name: input
            type: video
        output_artifacts:
          - name: audio.wav
            param_name: output
            type: audio
            public: true        # kept after the job; others are removed
"""

MAXIMAL = b"""\
name: a job
version: 1.10
priority: -5
timeout: 1h
labels: {team: video, year: 2024, ok: no}
input_artifacts:
  - {param_name: input, type: video, name: video.mp4}
steps:
  - name: first
    entries:
      - module: m
        name: one
        params: {width: 640, codec: h264, fast: true}
        retries: 2
        timeout: 90
        resources: {cpus: 2, memory: 512MB, gpus: 1, counters: {a: 1}}
        input_artifacts: [{name: video.mp4, param_name: input, type: video}]
        output_artifacts: [{name: 1.10, param_name: output, type: audio, public: false}]
"""


def read(text: bytes) -> tuple[JobSpec | None, list[str]]:
    document = read_document(text)
    spec, found = read_job(document)
    return spec, [str(violation) for violation in (*document.violations, *found)]


def wire(text: str) -> tuple[Wiring, list[str]]:
    document = read_document(text.encode())
    spec, found = read_job(document)
    assert spec is not None, found
    wiring = Wiring(spec, document)
    return wiring, [str(violation) for violation in wiring.violations]


def test_the_example():
    """The example of the documentation, word for word, is read; its version is its text."""
    spec, found = read(EXAMPLE)

    assert found == []
    assert spec is not None
    assert (spec.name, spec.version, spec.priority, spec.labels, spec.timeout) == ("example_job", "1.0", 0, {}, None)
    (entry,) = spec.steps[0].entries
    assert (entry.module, entry.name, entry.retries, entry.timeout, entry.params) == (
        "example_module",
        "",
        None,
        None,
        {},
    )
    assert [(item.name, item.param_name, item.type) for item in entry.input_artifacts] == [
        ("video.mp4", "input", "video")
    ]
    assert [(item.name, item.public) for item in entry.output_artifacts] == [("audio.wav", True)]


def test_every_key():
    """Every optional key is read, and unquoted names and labels stay as they were written."""
    spec, found = read(MAXIMAL)

    assert found == []
    assert spec is not None
    assert (spec.version, spec.priority, spec.timeout) == ("1.10", -5, 3600)
    assert spec.labels == {"team": "video", "year": "2024", "ok": "no"}
    assert spec.input_artifacts[0].name == "video.mp4"
    (entry,) = spec.steps[0].entries
    assert (entry.name, entry.retries, entry.timeout) == ("one", 2, 90)
    assert entry.resources.model_dump() == {"cpus": 2, "memory": 512_000_000, "gpus": 1, "counters": {"a": 1}}
    assert entry.output_artifacts[0].name == "1.10"


def test_a_job_in_json():
    """A job file may be JSON."""
    spec, found = read(b'{"name": "j", "steps": [{"name": "s", "entries": [{"module": "m"}]}]}')

    assert found == []
    assert spec is not None
    assert spec.steps[0].entries[0].module == "m"


ENTRY = "steps[0].entries[0]"
NAME = f"{ENTRY}.input_artifacts[0].name"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: example_job\n", "", "line 1, name: `name` is missing (add `name:` here)"),
        ("name: example_job", "name:", "line 1, name: must be text, not empty"),
        ("name: example_job", "name: [a, b]", "line 1, name: must be text, not a list"),
        ("name: example_job", "name: 'a\n\n  b'", "line 1, name: 'a\\nb' has a control character or a line break in it"),
        ("version: 1.0 ", "version: {a: 1} ", "line 2, version: must be text, not a mapping"),
        ("version: 1.0 ", "verison: 1.0 ", "line 2, verison: unknown key `verison` (did you mean `version`?)"),
        ("version: 1.0 ", "zzz: 1.0 ", "line 2, zzz: unknown key `zzz` (known keys: input_artifacts, labels, name,"),
        ("version: 1.0 ", "on_failure: stop ", "line 2, on_failure: unknown key `on_failure`"),
        ("version: 1.0 ", "priority: high ", "line 2, priority: must be a whole number, not the text 'high'"),
        ("version: 1.0 ", "priority: 1001 ", "line 2, priority: must be less than or equal to 1000, not the number 1001"),
        ("version: 1.0 ", "labels: [x] ", "line 2, labels: must be a mapping, not a list"),
        ("version: 1.0 ", "labels: {a: [x]} ", "line 2, labels.a: must be text, not a list"),
        ("version: 1.0 ", "timeout: soon ", "line 2, timeout: 'soon' is not understood (write it like 90, 90s, 10m or 2h)"),
        ("param_name: input\n    type: video", "param_name: --x\n    type: video", "line 4, input_artifacts[0].param_name: '--x' is not a name"),
        ("  - name: step1\n", "  - nam: step1\n", "line 7, steps[0].nam: unknown key `nam` (did you mean `name`?)"),
        ("  - name: step1\n", "  - name: a/b\n", "line 7, steps[0].name: 'a/b' has a path separator in it"),
        ("module: example_module", "modul: x", f"line 9, {ENTRY}.module: `module` is missing"),
        ("module: example_module", "module: 5\n        retries: -1", f"line 10, {ENTRY}.retries: must be greater than or equal to 0"),
        ("module: example_module", "module: m\n        timeout: 0", f"line 10, {ENTRY}.timeout: must be greater than 0"),
        ("module: example_module", "module: m\n        params: [a]", f"line 10, {ENTRY}.params: must be a mapping, not a list"),
        ("module: example_module", "module: m\n        resources: {cpu: 1}", f"line 10, {ENTRY}.resources.cpu: unknown key `cpu` (did you mean `cpus`?)"),
        ("module: example_module", "module: m\n        name: ..", f"line 10, {ENTRY}.name: '..' is not a file name"),
        ("public: true", "public: yes", f"line 18, {ENTRY}.output_artifacts[0].public: must be true or false, not the text 'yes'"),
        ("public: true", "public: 'true'", f"line 18, {ENTRY}.output_artifacts[0].public: must be true or false, not the text 'true'"),
        ("            type: video", "            public: true", f"line 13, {ENTRY}.input_artifacts[0].public: unknown key `public`"),
        ("name: video.mp4", "name: a/b", f"line 11, {NAME}: 'a/b' has a path separator in it"),
        ("name: video.mp4", "name: a\\b", f"line 11, {NAME}: 'a\\b' has a path separator in it"),
        ("name: video.mp4", "name: /etc/passwd", f"line 11, {NAME}: '/etc/passwd' has a path separator in it"),
        ("name: video.mp4", "name: .", f"line 11, {NAME}: '.' is not a file name"),
        ("name: video.mp4", "name: ..", f"line 11, {NAME}: '..' is not a file name"),
        ("name: video.mp4", "name: -rf", f"line 11, {NAME}: '-rf' begins with `-`"),
        ("name: video.mp4", "name: ''", f"line 11, {NAME}: must not be empty"),
        ("name: video.mp4", "name: ' '", f"line 11, {NAME}: must not be empty"),
        ("name: video.mp4", "name: null", f"line 11, {NAME}: must be text, not empty (write it in quotes if it is text)"),
        ("name: video.mp4", "name: [a]", f"line 11, {NAME}: must be text, not a list"),
        ("name: video.mp4", 'name: "a\\nb"', f"line 11, {NAME}: 'a\\nb' has a control character or a line break in it"),
        ("name: video.mp4", 'name: "a\\eb"', f"line 11, {NAME}: 'a\\x1bb' has a control character or a line break in it"),
        ("name: video.mp4", 'name: "a\\0b"', f"line 11, {NAME}: 'a\\x00b' has a NUL character in it"),
        ("name: video.mp4", 'name: "a\\u202eb"', f"line 11, {NAME}: 'a\\u202eb' has a bidirectional control character in it"),
        ("name: video.mp4", "name: " + "x" * 300, f"line 11, {NAME}: '{'x' * 60}…' is 300 bytes long (at most 255 bytes are allowed)"),
        ("name: video.mp4", "name: " + "é" * 128, f"line 11, {NAME}: '{'é' * 60}…' is 256 bytes long"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_told_with_path_line_and_hint(old, new, expected):
    """Each violation says where, what, and how to mend it."""
    text = EXAMPLE.decode()
    assert old in text

    _, found = read(text.replace(old, new, 1).encode())

    assert any(violation.startswith(expected) for violation in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: j", "line 1, steps: `steps` is missing (add `steps:` here)"),
        ("name: j\nsteps:", "line 2, steps: must be a list, not empty (write one `- ` before each item)"),
        ("name: j\nsteps: []", "line 2, steps: must not be empty (write at least one item)"),
        ("name: j\nsteps: {a: 1}", "line 2, steps: must be a list, not a mapping"),
        ("name: j\nsteps: [x]", "line 2, steps[0]: must be a mapping, not the text 'x'"),
        ("name: j\nsteps:\n  - name: s\n", "line 3, steps[0].entries: `entries` is missing"),
        ("name: j\nsteps:\n  - name: s\n    entries: []", "line 4, steps[0].entries: must not be empty"),
        ("name: j\nsteps:\n  - name: s\n    entries: [3]", "line 4, steps[0].entries[0]: must be a mapping, not the number 3"),
        ("- a\n- b", "line 1: must be a mapping, not a list"),
        ("hello", "line 1: must be a mapping, not the text 'hello'"),
    ],
)  # fmt: skip
def test_a_job_without_work_is_refused(text, expected):
    """Steps and entries are what a job is made of."""
    _, (violation,) = read(text.encode())

    assert violation.startswith(expected)


@pytest.mark.parametrize("name", ["no", "2024-01-01", "1.10", "true", "x" * 255, "Ünïcode 名.mp4", ".hidden", "a b"])
def test_odd_file_names_are_names(name):
    """Whatever is one component of a path is a name, in quotes or not."""
    spec, found = read(EXAMPLE.replace(b"video.mp4", name.encode()))

    assert found == []
    assert spec is not None
    assert spec.steps[0].entries[0].input_artifacts[0].name == name


@pytest.mark.size
def test_ten_thousand_entries_are_the_most():
    """One entry more is refused before anything else is looked at."""
    head = b"name: j\nsteps:\n- name: s\n  entries:\n"

    assert read(head + b"  - {module: m}\n" * 10_000)[1] == []
    assert read(head + b"  - {module: m}\n" * 10_001)[1] == [
        "line 2, steps: the job has 10001 entries, more than 10000 (split the job into smaller ones)"
    ]


def job(*steps: list[tuple[str, str]], inputs: str = "") -> str:
    """Write a job whose entries are given as ('in:type in:type', 'out:type')."""
    lines = ["name: j", f"input_artifacts: [{inputs}]", "steps:"]
    for number, entries in enumerate(steps, 1):
        lines += [f"  - name: s{number}", "    entries:"]
        for used, made in entries:
            lines.append("      - module: m")
            for key, artifacts in (("input_artifacts", used), ("output_artifacts", made)):
                items = [artifact.split(":") for artifact in artifacts.split()]
                flow = ", ".join(f"{{name: {name}, param_name: p, type: {kind}}}" for name, kind in items)
                lines.append(f"        {key}: [{flow}]")
    return "\n".join(lines)


def test_artifacts_are_wired():
    """Every artifact knows its maker, its users and the job input it stands for."""
    wiring, found = wire(job([("v:x", "a:y"), ("v:x", "b:y")], [("a:y b:y", "c:z")], inputs="{param_name: p, type: x}"))

    assert found == []
    assert wiring.given == {"v": 0}
    assert wiring.entry_names == [["m", "m-2"], ["m"]]
    assert {name: wiring.entry_name(use) for name, use in wiring.makers.items()} == {
        "a": ("s1", "m"), "b": ("s1", "m-2"), "c": ("s2", "m"),
    }  # fmt: skip
    assert [wiring.entry_name(use) for use in wiring.users["v"]] == [("s1", "m"), ("s1", "m-2")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (job([("", "a:x")], [("", "a:x")]), "line 13, steps[1].entries[0].output_artifacts[0].name: 'a' is made twice (entry 's1/m' on line 8 makes it"),
        (job([("", "a:x a:x")]), "line 8, steps[0].entries[0].output_artifacts[1].name: 'a' is made twice"),
        (job([("", "a:x"), ("a:x", "b:x")]), "line 10, steps[0].entries[1].input_artifacts[0].name: 'a' is made by entry 'm' of this same step (the entries of a step run in parallel; move this one to a later step)"),
        (job([("a:x", "a:x")]), "line 7, steps[0].entries[0].input_artifacts[0].name: 'a' is made by this very entry"),
        (job([("a:x", "b:x")], [("", "a:x")]), "line 7, steps[0].entries[0].input_artifacts[0].name: 'a' is made later, by entry 's2/m'"),
        (job([("b:x", "a:x")], [("a:x", "b:x")]), "line 7, steps[0].entries[0].input_artifacts[0].name: 'b' is made later, by entry 's2/m'"),
        (job([("", "a:x")], [("a:y", "")]), "line 12, steps[1].entries[0].input_artifacts[0].type: 'a' is used as type 'y', but entry 's1/m' makes it as 'x' (both ends must agree)"),
        (job([("a:x", "")]), "line 7, steps[0].entries[0].input_artifacts[0].name: no entry makes 'a', and no job input matches it (declare a job input with `param_name: p` and `type: x`)"),
        (job([("", "audio.wav:x")], [("audio.wva:x", "")]), "line 12, steps[1].entries[0].input_artifacts[0].name: no entry makes 'audio.wva', and no job input matches it (did you mean `audio.wav`? or declare"),
        (job([("a:x", "")], inputs="{param_name: p, type: y}"), "line 7, steps[0].entries[0].input_artifacts[0].name: no entry makes 'a', and no job input matches it (the job input 'p' is of type 'y'; both types must agree)"),
        (job([("a:x", "")], inputs="{param_name: q, type: x}"), "line 7, steps[0].entries[0].input_artifacts[0].name: no entry makes 'a', and no job input matches it (if the job input 'q' is meant, give it `name: a`)"),
        (job([("a:x", "")], inputs="{param_name: q, type: y, name: a}"), "line 7, steps[0].entries[0].input_artifacts[0].type: 'a' is used as type 'x', but the job input is of type 'y'"),
        (job([("a:x", "")], inputs="{param_name: p, type: x}, {param_name: p, type: x}"), "line 7, steps[0].entries[0].input_artifacts[0].name: 'a' could be input_artifacts[0] and input_artifacts[1] (give the one that is meant a `name`"),
        (job([("a:x", "")], inputs="{param_name: q, type: x, name: a}, {param_name: p, type: x, name: a}"), "line 2, input_artifacts[1].name: another input of this job is called 'a' (the first is on line 2)"),
        (job([("", "a:x")], inputs="{param_name: q, type: x, name: a}"), "line 2, input_artifacts[0].name: 'a' is a job input and is also made by entry 's1/m'"),
        (job([("", "")], [("", "")]).replace("s2", "s1"), "line 9, steps[1].name: another step of this job is called 's1' (the first is on line 4)"),
        (job([("", ""), ("", "")]).replace("module: m", "module: m\n        name: e"), "line 11, steps[0].entries[1].name: another entry of this step is called 'e' (the first is on line 7)"),
    ],
)  # fmt: skip
def test_a_wrong_wire_is_told_with_path_line_and_hint(text, expected):
    """One maker for each artifact, in an earlier step, of the same type; or a job input."""
    _, found = wire(text)

    assert any(violation.startswith(expected) for violation in found), found


def test_a_job_input_binds_by_name_before_param_and_type():
    """The name decides where one is equal; otherwise the param and the type do."""
    inputs = "{param_name: p, type: x}, {param_name: q, type: x, name: b}"
    wiring, found = wire(job([("a:x b:x", "")], inputs=inputs))

    assert found == []
    assert wiring.given == {"a": 0, "b": 1}


def test_one_job_input_may_stand_for_several_artifacts():
    """Entries may use a job input under names of their own."""
    wiring, found = wire(job([("a:x", ""), ("b:x", "")], inputs="{param_name: p, type: x}"))

    assert found == []
    assert wiring.given == {"a": 0, "b": 0}


def test_an_unused_job_input_is_no_violation():
    """A job may be given more than it uses."""
    assert wire(job([("", "")], inputs="{param_name: p, type: x}"))[1] == []


def test_default_entry_names_avoid_those_that_were_chosen():
    """A name that a user chose is never given to another entry."""
    text = job([("", ""), ("", ""), ("", "")]).replace("module: m", "module: m\n        name: m-2", 1)

    assert wire(text)[0].entry_names == [["m-2", "m", "m-3"]]


@pytest.mark.size
@pytest.mark.parametrize("kind", ["name: i{0}, param_name: p", "param_name: p", "param_name: p{0}"])
def test_thousands_of_job_inputs_are_wired_in_seconds(kind):
    """Named, ambiguous or unmatched: the work does not grow with the square of the file."""
    count = 4000
    inputs = ", ".join(f"{{{kind.format(number)}, type: x}}" for number in range(count))
    text = job([(f"i{number}:x", "") for number in range(count)], inputs=inputs)
    start = time.process_time()

    wiring, found = wire(text)

    assert time.process_time() - start < 8
    assert len(wiring.given) == (count if "name: i" in kind else 0)
    assert len(found) == count - len(wiring.given)
