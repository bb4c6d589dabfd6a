"""What the plan step promises: a plan that can run as it stands, or every violation at once."""

# ruff: noqa: E501 - a row of a table stays on one line

import random
import time
from pathlib import Path

import pytest

from jobd.catalog import BrokenModule, Module
from jobd.errors import InvalidDocumentError, InvalidJobError
from jobd.manifest import read_manifest
from jobd.plan import Binding, Capacity, Plan, PlanArtifact, PlanEntry, PlanInput, PlanStep, Resources
from jobd.planner import make_plan

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

EXAMPLE_MODULE = b"""\
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

SCALE = b"""\
name: scale
description: Scales a video
version: 2.10
entrypoint: scale.py
inputs:
  - {param_name: video, type: video}
  - {param_name: mask, type: image, optional: true}
  - {param_name: sub, type: subtitles, optional: true, many: true}
outputs:
  - {param_name: result, type: video}
params:
  - {name: width, type: int, range: [16, 8192]}
  - {name: codec, type: string, default: h264, choices: [h264, hevc]}
  - {name: fast, type: bool, default: true}
  - {name: title, type: string, default: null}
resources: {cpus: 2, memory: 1GiB, counters: {nvenc: 1}}
timeout: 10m
retries: 1
grace: 3
env: {MODE: no}
preload: false
"""

JOB = """\
name: j
labels: {team: video}
priority: 7
timeout: 2h
input_artifacts:
  - {param_name: film, type: video, name: film.mp4}
  - {param_name: subs, type: subtitles}
steps:
  - name: first
    entries:
      - module: scale
        params: {width: 640, title: -x, fast: false}
        input_artifacts:
          - {name: film.mp4, param_name: video, type: video}
          - {name: en.srt, param_name: sub, type: subtitles}
          - {name: de.srt, param_name: sub, type: subtitles}
        output_artifacts:
          - {name: small.mp4, param_name: result, type: video}
  - name: second
    entries:
      - module: scale
        name: again
        params: {width: 16, codec: hevc}
        retries: 0
        timeout: 5
        resources: {cpus: 1, counters: {other: 2}}
        input_artifacts:
          - {name: small.mp4, param_name: video, type: video}
        output_artifacts:
          - {name: tiny.mp4, param_name: result, type: video, public: true}
"""
SUBS = "{param_name: subs, type: subtitles}"
NAMED = "{param_name: sub, type: subtitles}"
GOOD = JOB.replace(SUBS, NAMED)

CAPACITY = Capacity(cpus=4, memory=2**31, gpus=0, counters={"nvenc": 1, "other": 2})


def module(text: bytes) -> Module:
    manifest = read_manifest(text)
    return Module(
        name=manifest.name,
        description=manifest.description,
        version=manifest.version,
        folder=Path("/modules") / manifest.name,
        entrypoint=manifest.entrypoint,
        manifest=manifest,
    )


MODULES = {item.name: item for item in (module(EXAMPLE_MODULE), module(SCALE))}


def plan(text: str | bytes, capacity: Capacity = CAPACITY) -> Plan:
    return make_plan(text.encode() if isinstance(text, str) else text, MODULES, capacity)


def violations(text: str | bytes, capacity: Capacity = CAPACITY) -> list[str]:
    with pytest.raises(InvalidJobError) as caught:
        plan(text, capacity)
    return [str(violation) for violation in caught.value.violations]


def test_the_example_plans():
    """The example of the documentation, word for word, is a plan."""
    made = plan(EXAMPLE)

    assert (made.name, made.version) == ("example_job", "1.0")
    assert made.inputs == (PlanInput(param_name="input", name="", type="video", artifact_names=("video.mp4",)),)
    assert made.artifacts == (
        PlanArtifact(name="video.mp4", type="video", consumers=(("step1", "example_module"),)),
        PlanArtifact(name="audio.wav", type="audio", public=True, step="step1", entry="example_module"),
    )
    ((entry,),) = (step.entries for step in made.steps)
    assert (entry.step, entry.name, entry.module) == ("step1", "example_module", "example_module")
    assert (entry.folder, entry.entrypoint) == ("/modules/example_module", "main.py")
    assert entry.inputs == (Binding(param_name="input", artifacts=("video.mp4",)),)
    assert entry.outputs == (Binding(param_name="output", artifacts=("audio.wav",)),)
    assert (entry.options, entry.resources) == ((), Resources(cpus=1))
    assert (entry.timeout, entry.retries, entry.grace, entry.env, entry.preload) == (None, 0, 10, {}, ())


def test_the_documentation_shows_what_is_tested():
    """The first example of each reference page plans as it stands there."""
    docs = Path(__file__).parents[2] / "docs"
    job, manifest = (
        (docs / page).read_text().split("```yaml\n")[1].split("```")[0].encode()
        for page in ("job-file.md", "module.md")
    )
    documented = module(manifest)

    assert job == EXAMPLE
    assert make_plan(job, {documented.name: documented}, CAPACITY) == plan(EXAMPLE)


def test_every_key_of_job_and_manifest_reaches_the_plan():
    """What the job says stands over what the manifest says, field by field; the rest is the manifest's."""
    made = plan(GOOD)

    assert (made.version, made.labels, made.priority, made.timeout) == ("", {"team": "video"}, 7, 7200)
    assert made.inputs == (
        PlanInput(param_name="film", name="film.mp4", type="video", artifact_names=("film.mp4",)),
        PlanInput(param_name="sub", name="", type="subtitles", artifact_names=("en.srt", "de.srt")),
    )
    first, again = made.steps[0].entries[0], made.steps[1].entries[0]
    assert first.inputs == (
        Binding(param_name="video", artifacts=("film.mp4",)),
        Binding(param_name="sub", artifacts=("en.srt", "de.srt")),
    )
    assert first.options == ("--width=640", "--title=-x", "--no-fast")
    assert first.resources == Resources(cpus=2, memory=2**30, counters={"nvenc": 1})
    assert (first.module_version, first.timeout, first.retries, first.grace) == ("2.10", 600, 1, 3)
    assert (first.env, first.preload) == ({"MODE": "no"}, None)
    assert again.options == ("--width=16", "--codec=hevc")
    assert again.resources == Resources(cpus=1, memory=2**30, counters={"nvenc": 1, "other": 2})
    assert (again.name, again.timeout, again.retries) == ("again", 5, 0)
    small = next(artifact for artifact in made.artifacts if artifact.name == "small.mp4")
    assert (small.step, small.entry, small.consumers) == ("first", "scale", (("second", "again"),))


@pytest.mark.parametrize("text", [EXAMPLE, GOOD.encode()], ids=["example", "every key"])
def test_a_plan_survives_json(text):
    """A plan is plain data: another process, or another machine, reads the same."""
    made = plan(text)

    assert Plan.model_validate_json(made.model_dump_json()) == made


def test_a_step_has_threads_for_all_that_can_run():
    """As many as there are cpus for and a few that wait; where entries wait for different things, one for each."""

    def step(*resources: Resources) -> PlanStep:
        entry = {"step": "s", "module": "m", "folder": "/m", "entrypoint": "main.py"}
        entries = (PlanEntry(name=str(n), resources=item, **entry) for n, item in enumerate(resources))
        return PlanStep(name="s", entries=tuple(entries))

    one, gpu = Resources(cpus=1), Resources(cpus=1, gpus=1)
    assert step(*[one] * 100).threads(2) == 6
    assert step(*[one] * 3).threads(2) == 3
    assert step(*[Resources(cpus=0.5)] * 100).threads(2) == 8
    assert step(*[gpu] * 20, *[one] * 20).threads(2) == 40
    assert step(*[gpu] * 500, one).threads(2) == 64


def test_a_plan_is_frozen():
    """Nobody changes a plan that others hold."""
    with pytest.raises(ValueError, match="frozen"):
        plan(EXAMPLE).name = "x"


ENTRY = "steps[0].entries[0]"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("module: scale", "module: scael", f"line 11, {ENTRY}.module: there is no module 'scael' (did you mean `scale`?)"),
        ("module: scale", "module: zzz", f"line 11, {ENTRY}.module: there is no module 'zzz' (there are: example_module, scale)"),
        ("param_name: video, type: video}", "param_name: vide, type: video}", f"line 14, {ENTRY}.input_artifacts[0].param_name: module 'scale' has no input 'vide' (did you mean `video`?)"),
        ("param_name: video, type: video}", "param_name: vide, type: video}", f"line 13, {ENTRY}.input_artifacts: input 'video' of module 'scale' is missing (add an item with `param_name: video` and `type: video`)"),
        ("name: en.srt, param_name: sub", "name: en.srt, param_name: video", f"line 15, {ENTRY}.input_artifacts[1].param_name: 'video' is given twice (the module takes one file there; 'film.mp4' is given)"),
        ("name: en.srt, param_name: sub", "name: en.srt, param_name: result", f"line 15, {ENTRY}.input_artifacts[1].param_name: module 'scale' has no input 'result' (inputs: mask, sub, video)"),
        ("film.mp4, param_name: video, type: video", "film.mp4, param_name: video, type: audio", f"line 14, {ENTRY}.input_artifacts[0].type: 'video' of the module is of type 'video', not 'audio'"),
        ("small.mp4, param_name: result, type: video", "small.mp4, param_name: result, type: image", f"line 18, {ENTRY}.output_artifacts[0].type: 'result' of the module is of type 'video', not 'image'"),
        ("{name: small.mp4, param_name: result", "{name: small.mp4, param_name: reslt", f"line 17, {ENTRY}.output_artifacts: output 'result' of module 'scale' is missing"),
        ("{name: small.mp4, param_name: result, type: video}", "{name: small.mp4, param_name: result, type: video}\n          - {name: b, param_name: result, type: video}", f"line 19, {ENTRY}.output_artifacts[1].param_name: 'result' is given twice"),
        ("        output_artifacts:\n          - {name: small.mp4, param_name: result, type: video}\n", "", f"line 11, {ENTRY}.output_artifacts: output 'result' of module 'scale' is missing"),
        ("{width: 640,", "{widht: 640,", f"line 12, {ENTRY}.params.widht: module 'scale' has no param 'widht' (did you mean `width`?)"),
        ("{width: 640,", "{", f"line 12, {ENTRY}.params: param 'width' of module 'scale' is missing (write `width:` and a value of type int under `params`)"),
        ("{width: 640,", "{width: 6.5,", f"line 12, {ENTRY}.params.width: must be a whole number, not the number 6.5 (its type is int)"),
        ("{width: 640,", "{width: '640',", f"line 12, {ENTRY}.params.width: must be a whole number, not the text '640'"),
        ("{width: 640,", "{width: [640],", f"line 12, {ENTRY}.params.width: must be a whole number, not a list"),
        ("{width: 640,", "{width: 15,", f"line 12, {ENTRY}.params.width: 15 is out of range (from 16 to 8192)"),
        ("codec: hevc", "codec: hvec", "line 23, steps[1].entries[0].params.codec: 'hvec' is not one of the choices (choices: h264, hevc)"),
        ("fast: false", "fast: no", f"line 12, {ENTRY}.params.fast: must be true or false, not the text 'no'"),
        ("title: -x", "title: null", f"line 12, {ENTRY}.params.title: must be text, not empty"),
        ("title: -x", "title: " + "x" * 100_001, f"line 12, {ENTRY}.params.title: the value is too long for a command line"),
        ("{cpus: 1,", "{cpus: 5,", "line 26, steps[1].entries[0].resources.cpus: the entry needs 5 of 'cpus', and this machine has 4"),
        ("{cpus: 1,", "{gpus: 1,", "line 26, steps[1].entries[0].resources.gpus: the entry needs 1 of 'gpus', and this machine has 0"),
        ("{cpus: 1,", "{memory: 3GiB,", "line 26, steps[1].entries[0].resources.memory: the entry needs 3.22123e+09 of 'memory'"),
        ("other: 2}", "others: 2}", "line 26, steps[1].entries[0].resources.counters.others: the entry needs 2 of 'others', and this machine has 0"),
        ("film.mp4, param_name: video", "flim.mp4, param_name: video", f"line 14, {ENTRY}.input_artifacts[0].name: no entry makes 'flim.mp4', and no job input matches it (did you mean `film.mp4`?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_path_line_and_hint(old, new, expected):
    """Modules, parameters, values, types and resources are checked before anything runs."""
    assert old in GOOD

    found = violations(GOOD.replace(old, new, 1))

    assert any(violation.startswith(expected) for violation in found), found


def test_what_a_module_needs_must_fit_the_machine():
    """Resources of the manifest are told at the entry's module, for the entry does not write them."""
    found = violations(GOOD, Capacity(cpus=1, counters={"other": 2}))

    assert found == [
        f"line 11, {ENTRY}.module: the entry needs 2 of 'cpus', and this machine has 1 (ask for less, or give the daemon more capacity)",
        f"line 11, {ENTRY}.module: the entry needs 1 of 'nvenc', and this machine has 0 (ask for less, or give the daemon more capacity)",
        "line 21, steps[1].entries[0].module: the entry needs 1 of 'nvenc', and this machine has 0 (ask for less, or give the daemon more capacity)",
    ]  # fmt: skip


def test_memory_that_is_not_known_fits():
    """A machine that does not tell its memory refuses no entry for it."""
    capacity = CAPACITY.model_copy(update={"memory": 0})

    assert plan(GOOD, capacity).steps[0].entries[0].resources.memory == 2**30


def test_a_broken_module_says_why():
    """One reads the reason where one uses the module, not only in the list of modules."""
    broken = BrokenModule(name="scale", folder=Path("/modules/scale"), reasons=("line 3: oh", "line 4: no"))

    with pytest.raises(InvalidJobError) as caught:
        make_plan(GOOD.encode(), {}, CAPACITY, (broken,))

    assert str(caught.value.violations[0]) == (
        f"line 11, {ENTRY}.module: the module 'scale' is broken: line 3: oh; line 4: no (mend /modules/scale)"
    )


def test_no_modules_at_all():
    """An empty catalog is told as such."""
    with pytest.raises(InvalidJobError, match="no module was found at all"):
        make_plan(EXAMPLE, {}, CAPACITY)


def test_every_violation_is_told_at_once_in_the_order_of_lines():
    """Unknown keys, duplicate keys, wrong params, wrong wires: shape and meaning are told together."""
    text = GOOD.replace("priority: 7", "priorty: 7\nname: k").replace("width: 640", "width: 1")
    text = text.replace("codec: hevc", "codec: x").replace(
        "small.mp4, param_name: video", "small.mp, param_name: video"
    )

    found = violations(text)

    assert [violation.split(": ")[0] for violation in found] == [
        "line 3, priorty",
        "line 4, name",
        f"line 13, {ENTRY}.params.width",
        "line 24, steps[1].entries[0].params.codec",
        "line 29, steps[1].entries[0].input_artifacts[0].name",
    ]


def test_meaning_is_told_beside_a_broken_shape():
    """An entry that can be read is checked against its module although another place cannot be read."""
    text = GOOD.replace("priority: 7", "priority: high").replace("width: 640", "width: 1")

    assert [violation.split(": ")[0] for violation in violations(text)] == [
        "line 3, priority",
        f"line 12, {ENTRY}.params.width",
    ]


def test_an_unreadable_document_is_an_invalid_job():
    """Whatever is wrong with the text, the caller has one error to catch."""
    assert violations(b"a: [") == ["line 1: not valid YAML: did not find expected node content"]


def test_violations_beyond_a_thousand_are_counted():
    """A report stays readable, and says that it is cut."""
    entry = "      - module: nope\n"

    found = violations("name: j\nsteps:\n  - name: s\n    entries:\n" + entry * 1500)

    assert len(found) == 1001
    assert found[-1] == "500 more problems are not shown"


def big_job(count: int) -> bytes:
    entry = (
        "      - module: example_module\n"
        "        input_artifacts:\n          - {{name: a{0}, param_name: input, type: video}}\n"
        "        output_artifacts:\n          - {{name: b{0}, param_name: output, type: audio}}\n"
    )
    text = "name: j\ninput_artifacts:\n - {param_name: input, type: video}\nsteps:\n"
    for start in range(0, count, 1000):
        text += f"  - name: s{start}\n    entries:\n"
        text += "".join(entry.format(number) for number in range(start, start + 1000))
    return text.encode()


@pytest.mark.size
def test_ten_thousand_entries_are_planned_in_seconds():
    """The largest job is answered while its submitter waits."""
    text = big_job(10_000)
    start = time.process_time()

    made = plan(text)

    assert time.process_time() - start < 10
    assert sum(len(step.entries) for step in made.steps) == 10_000


@pytest.mark.size
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"module: example", b"module: exampl"),
        (b"output, type: audio", b"output, type: image"),
        (b"name: a", b"name: c"),
        (b"type: video}\n   ", b"typo: video}\n   "),
    ],
)
def test_a_mistake_repeated_thousands_of_times_is_told_in_seconds(old, new):
    """No mistake makes the work grow faster than the file."""
    text = big_job(2_000).replace(old, new).replace(b" - {param_name: input", b" - {param_name: put")
    start = time.process_time()

    found = violations(text)

    assert time.process_time() - start < 5
    assert len(found) == 1001


def test_random_bytes_are_refused():
    """No rubbish raises anything but the error that is meant for it."""
    generator = random.Random(1)
    for _ in range(500):
        with pytest.raises(InvalidDocumentError):
            plan(generator.randbytes(generator.randrange(200)))


SNIPPETS = (
    *(b"&a ", b"*a", b"!!str ", b"- ", b"  ", b"\n", b"\t", b": ", b"{", b"}", b"[", b"]", b"'", b'"', b"#", b"|\n", b"? "),
    *(b"---\n", b"...\n", b"null", b"~", b"1e999", b"-.inf", b".nan", b"0x", b"9" * 400, b"true", b"\\u0000", b"\xff", b"\x00"),
    *(b"name", b"steps", b"entries", b"\xe2\x80\xae", b"<<: ", b"params: {a: [b]}\n", b"resources: {cpus: x}\n", b"%YAML 1.1\n"),
)  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_mutations_of_good_jobs_raise_nothing_unexpected(seed):
    """A good job file that was cut, repeated and peppered is planned or refused, and a plan survives JSON."""
    generator = random.Random(seed)
    refused = 0
    for _ in range(250):
        text = bytearray(generator.choice((EXAMPLE, GOOD.encode())))
        for _ in range(generator.randrange(1, 5)):
            start, end = sorted(generator.randrange(len(text) + 1) for _ in range(2))
            end = min(end, start + generator.randrange(60))
            piece = generator.choice((generator.choice(SNIPPETS), bytes(text[start:end]) * 2, b""))
            text[start:end] = piece
        try:
            made = plan(bytes(text))
        except InvalidJobError:
            refused += 1
        else:
            assert Plan.model_validate_json(made.model_dump_json()) == made
    assert refused > 50
