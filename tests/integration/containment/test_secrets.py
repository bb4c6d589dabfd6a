"""Secrets of the operator in the environment of entries, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest

from jobd.attempt import Failed, Succeeded
from jobd.containment import Containment
from jobd.events import EntryProgress, FailureKind
from jobd.secret_store import SecretStore

pytestmark = pytest.mark.timeout(60)

VALUE = "correct-horse-battery-staple"
STARS = "*" * len(VALUE)


@pytest.fixture
def keeping(awkward: Any, tmp_path: Path) -> Any:
    """Give a runner of modules whose operator keeps a secret."""
    SecretStore(tmp_path / "secrets").write("api.key", VALUE.encode())
    awkward.containment = Containment(secrets_dir=str(tmp_path / "secrets"))
    return awkward


def test_a_value_reaches_the_module_and_no_one_else(keeping: Any):
    """It stands in the variable that was asked for; of logs, status lines and failures only the module knows it."""
    script = """\
import os, sys
key = os.environ["KEY"]
assert len(key) == 28 and "OTHER" not in os.environ, os.environ
print("openjd_status: using", key)
print("the key:", key, flush=True)
os.write(1, key[:9].encode()); os.write(2, (key[9:] + chr(10)).encode())
print("openjd_fail: refused", key)
sys.exit(3)
"""
    outcome = keeping.run(script, secrets={"KEY": "api.key"})
    assert isinstance(outcome, Failed)
    assert (outcome.failure.kind, outcome.failure.message) == (FailureKind.MODULE, f"refused {STARS}")
    assert outcome.failure.log_tail == (f"the key: {STARS}", STARS)
    assert [event.status for event in keeping.told if isinstance(event, EntryProgress)] == [f"using {STARS}"]
    assert keeping.shown == [f"the key: {STARS}", STARS]
    everything = [path.read_bytes() for path in keeping.directory.root.rglob("*") if path.is_file()]
    assert not any(VALUE.encode() in content for content in everything)
    assert VALUE not in repr((keeping.told, keeping.shown, outcome))


def test_a_failure_at_a_timeout_shows_masked_lines(keeping: Any):
    """Also the last lines of an entry that is cut short have no value in them."""
    script = "import os, signal; print('key', os.environ['KEY'], flush=True); signal.pause()"
    outcome = keeping.run(script, secrets={"KEY": "api.key"}, timeout=1.5)
    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert outcome.failure.log_tail == (f"key {STARS}",)


def test_entries_that_declare_none_get_none(keeping: Any):
    """Another entry of the same job does not see it."""
    outcome = keeping.run("import os, sys; sys.exit(any('horse' in value for value in os.environ.values()))")
    assert isinstance(outcome, Succeeded)


@pytest.mark.parametrize("kept", [True, False])
def test_a_secret_that_is_gone_fails_the_entry(keeping: Any, kept: bool):
    """One that was removed after the submit is the reason; no module is started without what it needs."""
    if not kept:
        keeping.containment = Containment()
    failure = keeping.run("raise SystemExit('started')", secrets={"KEY": "gone"}).failure
    assert failure.kind is FailureKind.SPAWN
    assert "'gone'" in failure.message
    assert not keeping.log.exists() or keeping.log.read_bytes() == b""
