"""A module cannot tell whether it was started or forked, and nobody else can tell it by what it does."""

from pathlib import Path

import pytest

from jobd import job_cgroup
from jobd.attempt import Failed, Succeeded

pytestmark = pytest.mark.timeout(120)

EXITS = (
    "falls off",
    "exit",
    "none",
    "0",
    "3",
    "-1",
    "263",
    "large",
    "true",
    "text",
    "tuple",
    "quit",
    "os",
    "raise",
    "chain",
    "context",
    "group",
    "unshown",
    "interrupt",
    "interrupted",
    "base",
    "generator exit",
    "memory",
    "assert",
    "syntax",
    "import",
    "terminate",
    "kill",
    "abort",
    "segv",
    "hook",
    "hook raises",
    "hook exits",
    "atexit raises",
    "atexit exits",
    "last",
    "no stderr",
    "thread raises",
    "thread exits",
)
ENDS = (
    "unclosed",
    "held_elsewhere",
    "finalizers",
    "thread",
    "daemon",
    "pool",
    "libc",
    "closed",
    "replaced",
    "buffered",
    "broken",
)
CHILDREN = ("spawn", "pool fork", "queue", "fork", "python", "session")


def test_what_it_sees_of_its_start(both):
    """Its globals, arguments, paths, environment, streams, signals and limits are those of a fresh interpreter."""
    seen = both.compare("start.py", options=("--text=a b", "--other"))
    assert isinstance(seen.outcome, Succeeded)
    assert b"__main__" in seen.log


def test_a_long_command_line_is_seen_whole(both):
    """An entry that takes very many files has them all in the command line that the kernel shows."""
    seen = both.compare("start.py", options=tuple(f"--input=/a/folder/of/files/{number}" for number in range(500)))
    assert b"/a/folder/of/files/499\\x00" in seen.log


@pytest.mark.parametrize("how", EXITS)
def test_how_it_exits(both, how: str):
    """Its exit code or signal, and the last that it prints, are the same."""
    assert both.compare("exits.py", how).log.startswith(b"before\n")


@pytest.mark.parametrize("how", ENDS)
def test_what_its_end_does(both, how: str):
    """Files are written, finalizers and exit handlers run in their order, and threads are waited for or stopped."""
    both.compare("ends.py", how, made=True)


@pytest.mark.parametrize("how", CHILDREN)
def test_what_it_starts(both, how: str):
    """Processes that it starts, by multiprocessing or otherwise, find what they look for."""
    assert isinstance(both.compare("children.py", how).outcome, Succeeded)


def test_what_it_prints(both):
    """Bytes come out in the order in which they were printed, whichever way they went."""
    assert isinstance(both.compare("prints.py").outcome, Succeeded)


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONDEVMODE", "PYTHONUTF8", "PYTHONSAFEPATH"])
def test_what_its_environment_says_to_the_interpreter(both, name: str):
    """A variable of the manifest that is for the interpreter has its effect."""
    both.compare("start.py", env={name: "1"})


def test_where_it_prints_in_another_encoding(both):
    """The encoding that its environment asks for is that of its streams."""
    env = {"PYTHONIOENCODING": "latin-1:replace", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    assert isinstance(both.compare("start.py", env=env).outcome, Succeeded)


@pytest.mark.parametrize(
    "text", ["a b", "é = 1\0", "# coding: nothing\n", "x = 1\n  y = 2\n", "\N{BYTE ORDER MARK}print(1)\n"]
)
def test_what_is_no_program(both, tmp_path, text: str):
    """A script that does not compile is told of in the same words: it is started, not forked."""
    (tmp_path / "main.py").write_text(text)
    entry = both.entry(f"{tmp_path}/main.py")
    started, hosts = both.run(entry), both.hosts(entry, ready=False)
    outcomes = [both.run(entry, hosts) for _ in range(10)]
    assert outcomes == [started] * 10
    assert isinstance(started.outcome, Failed if text[0] in "aéx#" else Succeeded)


@pytest.fixture(params=["cgroup", "sweep"])
def containment(request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes of an entry be found by a cgroup where there is one, and again without."""
    if request.param == "sweep":
        monkeypatch.setattr(job_cgroup, "base", lambda: None)


AWKWARD = sorted((Path(__file__).parents[1] / "containment" / "awkward").glob("*.py"))


@pytest.mark.parametrize("script", AWKWARD, ids=lambda path: path.stem)
def test_how_one_that_misbehaves_ends(both, containment, script: Path):
    """What is the end of it is the same, and nothing of it is left."""
    # Some go on until they are stopped; a gigabyte of a busy machine's memory takes its time.
    timeout = 60 if "takes_memory" in f"{script}" else 2
    entry = both.entry(f"{script}", timeout=timeout, log_limit=1 << 20)
    started, hosts = both.run(entry), both.hosts(entry)
    forked = both.run(entry, hosts)
    assert hosts.forks == 1
    if isinstance(started.outcome, Failed):
        told = started.outcome.failure
        assert forked.outcome.failure.model_dump(exclude={"message"}) == told.model_dump(exclude={"message"})
    else:
        assert forked.outcome == started.outcome
