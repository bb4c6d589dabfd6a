"""What a manifest may say, and what it is told about the rest."""

# ruff: noqa: E501 - a row of a table stays on one line

import pytest

from jobd.errors import InvalidDocumentError
from jobd.manifest import Manifest, ResourceSpec, read_manifest
from jobd.names import FieldError
from jobd.params import Param

MINIMAL = b"""\
name: example_module
description: Doing some stuff
entrypoint: main.py
inputs:
  - param_name: input
    type: video
outputs:
  - param_name: output
    type: audio
"""

MAXIMAL = b"""\
name: scale
description: Scales a video
version: 1.10
entrypoint: scale.py
inputs:
  - {param_name: video, type: video}
  - {param_name: mask, type: image, optional: true}
  - {param_name: sub, type: subtitles, optional: true, many: true}
outputs:
  - {param_name: result, type: video}
params:
  - {name: width, type: int, default: 640, range: [16, 8192], description: pixels}
  - {name: speed, type: float, range: [0, null]}
  - {name: codec, type: string, default: h264, choices: [h264, 265, no]}
  - {name: two-pass, type: bool, default: true}
  - {name: rate, type: int, default: null}
resources: {cpus: 1.5, memory: 1.5GiB, gpus: 1, counters: {nvenc: 2}}
timeout: 2h
retries: 3
grace: 500ms
env: {THREADS: 1, MODE: no}
preload: [av, PIL.Image]
"""


def violations(text: bytes) -> list[str]:
    with pytest.raises(InvalidDocumentError) as caught:
        read_manifest(text)
    return [str(violation) for violation in caught.value.violations]


def test_minimal():
    """The manifest of the documentation is read, with every default."""
    manifest = read_manifest(MINIMAL)

    assert (manifest.name, manifest.description, manifest.entrypoint) == (
        "example_module",
        "Doing some stuff",
        "main.py",
    )
    assert [(item.param_name, item.type, item.optional, item.many) for item in manifest.inputs] == [
        ("input", "video", False, False)
    ]
    assert [(item.param_name, item.type) for item in manifest.outputs] == [("output", "audio")]
    assert (manifest.version, manifest.params, manifest.timeout, manifest.retries) == ("", (), None, 0)
    assert (manifest.grace, manifest.env, manifest.preload, manifest.resources) == (10, {}, (), ResourceSpec())


def test_maximal():
    """Every key is read, in the units of the code."""
    manifest = read_manifest(MAXIMAL)

    assert manifest.version == "1.10"
    assert [(item.optional, item.many) for item in manifest.inputs] == [(False, False), (True, False), (True, True)]
    assert manifest.resources == ResourceSpec(cpus=1.5, memory=3 * 2**29, gpus=1, counters={"nvenc": 2})
    assert (manifest.timeout, manifest.retries, manifest.grace) == (7200, 3, 0.5)
    assert manifest.env == {"THREADS": "1", "MODE": "no"}
    assert manifest.preload == ("av", "PIL.Image")
    assert [param.default for param in manifest.params] == [640, None, "h264", True, None]
    assert manifest.params[2].choices == ("h264", "265", "no")
    assert [param.required for param in manifest.params] == [False, True, False, False, False]


def test_inputs_and_outputs_may_be_empty_or_absent():
    """A module may take nothing and make nothing."""
    head = b"name: m\ndescription: d\nentrypoint: m.py\n"

    assert read_manifest(head).inputs == ()
    assert read_manifest(head + b"inputs: []\noutputs: []\n").outputs == ()


def test_preload_false_wants_no_warm_start():
    """`preload: false` is not the same as no preload."""
    assert read_manifest(MINIMAL + b"preload: false\n").preload is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: example_module\n", "", "line 1, name: `name` is missing (add `name:` here)"),
        ("description: Doing some stuff", "description:", "line 2, description: must be text, not empty"),
        ("description: Doing some stuff", "description: ''", "line 2, description: must not be empty"),
        ("name: example_module", "name: ../x", "line 1, name: '../x' has a path separator in it"),
        ("name: example_module", "name: [x]", "line 1, name: must be text, not a list"),
        ("main.py", "../main.py", "line 3, entrypoint: '../main.py' has a path separator in it"),
        ("main.py", "/bin/sh", "line 3, entrypoint: '/bin/sh' has a path separator in it"),
        ("main.py", "-c.py", "line 3, entrypoint: '-c.py' begins with `-`"),
        ("main.py", "main.sh", "line 3, entrypoint: 'main.sh' is not a Python script"),
        ("param_name: input", "param_name: -x", "line 5, inputs[0].param_name: '-x' is not a name for an option"),
        ("param_name: input", "param_name: a=b", "line 5, inputs[0].param_name: 'a=b' is not a name for an option"),
        ("param_name: output", "param_name: input", "line 8, outputs[0].param_name: the option `input` is taken"),
        ("param_name: output", "param_name: help", "line 8, outputs[0].param_name: the option `help` is taken"),
        ("type: audio", "type: audio\n    optional: true", "line 10, outputs[0].optional: unknown key `optional`"),
        ("type: audio", "typ: audio", "line 9, outputs[0].typ: unknown key `typ` (did you mean `type`?)"),
        ("entrypoint: main.py", "entrypoint: main.py\ntimeot: 3", "line 4, timeot: unknown key `timeot` (did you mean `timeout`?)"),
        ("entrypoint: main.py", "entrypoint: main.py\nentrypoint: x.py", "line 4, entrypoint: the key `entrypoint` stands here twice (the first is on line 3)"),
    ],
)  # fmt: skip
def test_a_wrong_key_is_told_with_its_line(old, new, expected):
    """Each violation says where, what, and how to mend it."""
    text = MINIMAL.decode().replace(old, new, 1)

    assert any(violation.startswith(expected) for violation in violations(text.encode())), violations(text.encode())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("timeout: 1:30", "line 10, timeout: '1:30' is not understood (write it like 90, 90s, 10m or 2h)"),
        ("timeout: 0", "line 10, timeout: must be greater than 0, not the number 0"),
        ("timeout: .inf", "line 10, timeout: must be a finite number"),
        ("timeout: 900d", "line 10, timeout: must be less than or equal to 31622400"),
        ("timeout: true", "line 10, timeout: must be a number, not true"),
        ("grace: -1", "line 10, grace: must be greater than or equal to 0"),
        ("retries: 1.5", "line 10, retries: must be a whole number, not the number 1.5"),
        ("retries: '2'", "line 10, retries: must be a whole number, not the text '2'"),
        ("retries: 101", "line 10, retries: must be less than or equal to 100"),
        ("resources: {cpus: 0}", "line 10, resources.cpus: must be greater than 0"),
        ("resources: {cpus: .nan}", "line 10, resources.cpus: must be a finite number"),
        ("resources: {memory: 2 gigs}", "line 10, resources.memory: '2 gigs' is not understood"),
        ("resources: {memory: 1.5}", "line 10, resources.memory: must be a whole number, not the number 1.5"),
        ("resources: {gpu: 1}", "line 10, resources.gpu: unknown key `gpu` (did you mean `gpus`?)"),
        ("resources: {counters: {gpus: 1}}", "line 10, resources.counters.gpus: 'gpus' is no name for a counter"),
        ("resources: {counters: {a: -1}}", "line 10, resources.counters.a: must be greater than or equal to 0"),
        ("resources: 4", "line 10, resources: must be a mapping, not the number 4"),
        ("env: {A-B: x}", 'line 10, env.A-B: \'A-B\' is not a name for an environment variable'),
        ("env: {JOBD_STEP: x}", "line 10, env.JOBD_STEP: 'JOBD_STEP' is set by jobd itself"),
        ("env: {A: [x]}", "line 10, env.A: must be text, not a list"),
        ("preload: true", "line 10, preload: must be a list of imports or false, not true"),
        ("preload: [os; rm]", "line 10, preload[0]: 'os; rm' is not the name of a Python module"),
        ("params: {}", "line 10, params: must be a list, not a mapping"),
        ("params: [{name: a, type: integer}]", "line 10, params[0].type: must be 'string', 'int', 'float' or 'bool', not the text 'integer'"),
        ("params: [{name: a, type: int, default: x}]", "line 10, params[0].default: must be a whole number, not the text 'x'"),
        ("params: [{name: a, type: int, default: 9, range: [1, 5]}]", "line 10, params[0]: 9 is out of range (from 1 to 5)"),
        ("params: [{name: a, type: int, range: [5, 1]}]", "line 10, params[0]: the range ends before it begins"),
        ("params: [{name: a, type: string, range: [5, 1]}]", "line 10, params[0]: a string has no range"),
        ("params: [{name: a, type: string, default: x, choices: [y, z]}]", "line 10, params[0]: 'x' is not one of the choices (choices: y, z)"),
        ("params: [{name: a, type: bool, choices: [1]}]", "line 10, params[0].choices: must be true or false, not the number 1"),
        ("params: [{name: input, type: int}]", "line 10, params[0].name: the option `input` is taken"),
    ],
)  # fmt: skip
def test_a_wrong_optional_key_is_told_with_its_line(line, expected):
    """Each violation says where, what, and how to mend it."""
    (violation,) = violations(MINIMAL + line.encode())

    assert violation.startswith(expected)


def test_all_violations_are_told_together():
    """An author mends a manifest once, not once for each mistake."""
    assert len(violations(b"nam: x\nentrypoint: /x\ninputs: 3\nretries: -1\n")) == 6


def test_an_unknown_key_hides_nothing():
    """What only shows when the keys are right is told beside the unknown keys."""
    text = MINIMAL + b"params:\n  - {name: a, type: string, range: [1, 2],\n     defalt: x}\n"

    assert violations(text) == [
        "line 11, params[0]: a string has no range (only int and float have one)",
        "line 12, params[0].defalt: unknown key `defalt` (did you mean `default`?)",
    ]


@pytest.mark.parametrize(
    ("param", "value", "options"),
    [
        (Param(name="a", type="string"), "-rf", ("--a=-rf",)),
        (Param(name="a", type="string"), "", ("--a=",)),
        (Param(name="a", type="string"), "x y; z", ("--a=x y; z",)),
        (Param(name="a", type="int"), -5, ("--a=-5",)),
        (Param(name="a", type="float"), 2, ("--a=2.0",)),
        (Param(name="a", type="bool"), True, ("--a",)),
        (Param(name="a", type="bool"), False, ()),
        (Param(name="a", type="bool", default=False), False, ()),
        (Param(name="a", type="bool", default=True), False, ("--no-a",)),
        (Param(name="a", type="bool", default=True), True, ("--a",)),
    ],
)
def test_a_param_becomes_one_token(param, value, options):
    """A value can never be taken for an option of its own."""
    assert param.options(param.read(value)) == options


@pytest.mark.parametrize(
    ("param", "value"),
    [
        (Param(name="a", type="int"), True),
        (Param(name="a", type="int"), 1.0),
        (Param(name="a", type="float"), float("nan")),
        (Param(name="a", type="float"), 10**400),
        (Param(name="a", type="bool"), "true"),
        (Param(name="a", type="string"), None),
        (Param(name="a", type="string"), ["x"]),
        (Param(name="a", type="string"), "x" * 200_000),
        (Param(name="a", type="float", range=(0, None)), -0.1),
    ],
)
def test_a_value_of_another_kind_is_refused(param, value):
    """No value is bent into another type."""
    with pytest.raises(FieldError):
        param.read(value)


def test_resources_of_a_job_stand_over_those_of_the_module():
    """Each field, and each counter, is overridden by itself."""
    module = ResourceSpec(cpus=2, memory=5, counters={"a": 1, "b": 1})
    job = ResourceSpec(cpus=1, gpus=1, counters={"b": 3})

    assert job.over(module) == ResourceSpec(cpus=1, memory=5, gpus=1, counters={"a": 1, "b": 3})


def test_a_manifest_is_frozen():
    """Nobody changes a manifest that others hold."""
    manifest = read_manifest(MINIMAL)

    with pytest.raises(ValueError, match="frozen"):
        manifest.name = "x"
    assert isinstance(manifest, Manifest)
