"""Which failures are tried again: all kinds, or those that an entry names."""

import signal

import pytest

from jobd import job_run
from jobd.events import EntryRetrying, FailureKind
from jobd.states import JobState

pytestmark = pytest.mark.timeout(60)

KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(job_run, "delay_before", lambda _failures: 0.0)


def tries(bench, plan) -> list[FailureKind]:
    """Run a job and give the kinds of failure after which it was tried again."""
    assert bench.run(plan).state is JobState.FAILED
    return [event.failure.kind for event in bench.events() if isinstance(event, EntryRetrying)]


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("sys.exit(3)", FailureKind.EXIT_CODE),
        (KILLED, FailureKind.SIGNAL),
        ("signal.pause()", FailureKind.TIMEOUT),
        ("print('openjd_fail: no'); sys.exit(1)", FailureKind.MODULE),
        ("held = bytearray(1 << 30)", FailureKind.OUT_OF_MEMORY),
    ],
    ids=lambda value: value if isinstance(value, FailureKind) else "",
)
def test_every_kind_is_tried_again_by_default(bench, modules, script: str, kind: FailureKind):
    """Without `retry_on` whatever a module fails of counts against its retries."""
    entry = modules.entry(script, retries=1, timeout=1.0, resources={"memory": 200 << 20})
    assert tries(bench, modules.plan(entry)) == [kind]


def test_a_kind_that_is_not_named_is_final(bench, modules):
    """With `retry_on` another kind of failure ends the entry at once, with its own reason."""
    plan = modules.plan(modules.entry("sys.exit(3)", retries=5, retry_on=("signal", "timeout")))
    assert tries(bench, plan) == []
    assert bench.failure(plan).exit_code == 3


def test_a_kind_that_is_named_is_tried_again(bench, modules):
    """With `retry_on` the named kinds are tried again as often as `retries` says, and each attempt keeps its log."""
    plan = modules.plan(modules.entry(f"print('here', flush=True); {KILLED}", retries=2, retry_on=("signal",)))
    assert tries(bench, plan) == [FailureKind.SIGNAL] * 2
    assert bench.failure(plan).signal == signal.SIGKILL
    logs = [bench.directory.log("step", "entry", number).read_text() for number in (1, 2, 3)]
    assert logs == ["here\n"] * 3


def test_each_failure_is_judged_by_itself(bench, modules, tmp_path):
    """A kind that is tried again may be followed by one that is not."""
    count = tmp_path / "count"
    script = f"""
tries = pathlib.Path({str(count)!r})
tries.write_text(tries.read_text() + "." if tries.exists() else ".")
{KILLED} if len(tries.read_text()) < 3 else sys.exit(3)
"""
    plan = modules.plan(modules.entry(script, retries=9, retry_on=("signal",)))
    assert tries(bench, plan) == [FailureKind.SIGNAL] * 2
    assert bench.failure(plan).kind is FailureKind.EXIT_CODE
