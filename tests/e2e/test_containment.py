"""One daemon whose jobs use secrets and a sandbox, and callers over TCP, all through the programs that users have."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobd import sandbox

pytestmark = pytest.mark.timeout(300)

VALUE = "correct-horse-battery-staple"
STARS = "*" * len(VALUE)

MANIFEST = """\
name: {name}
description: Looks around
entrypoint: main.py
inputs: [{{param_name: input, type: text}}]
outputs: [{{param_name: output, type: text}}]
"""

SCRIPT = """\
import json, os, sys, time
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
key = os.environ.get("API_KEY", "")
print(key[:11], end="", flush=True)
print(key[11:], flush=True)
print("openjd_status: with", key, flush=True)
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
seen = {"privileges": status["NoNewPrivs"], "processes": sum(map(str.isdigit, os.listdir("/proc")))}
open(words["--output"], "w").write(json.dumps(seen))
if "fail" in open(words["--input"]).read():
    print("openjd_fail: refused", key)
    sys.exit(1)
"""


@pytest.fixture
def contained(serve: Callable[..., Any]) -> Any:
    """Give a daemon that needs no Prefect, with one plain and one contained module."""
    made = serve("--prefect-api-url=http://127.0.0.1:1/api", "--prefect-grace=0")
    extra = "secrets: [API_KEY]\n" + ("" if sandbox.missing() else "sandbox: true\n")
    for name, more in (("plain", ""), ("contained", extra)):
        (made.modules / name).mkdir(parents=True)
        (made.modules / name / "manifest.yaml").write_text(MANIFEST.format(name=name) + more)
        (made.modules / name / "main.py").write_text(SCRIPT)
    return made


def job(module: str) -> dict[str, Any]:
    """Describe an entry that runs one of them."""
    return {
        "module": module,
        "input_artifacts": [{"name": "in.txt", "param_name": "input", "type": "text"}],
        "output_artifacts": [{"name": "out.json", "param_name": "output", "type": "text", "public": True}],
    }


def test_jobs_are_held_back(contained, jobs, tmp_path: Path):
    """From the submit to the download: secrets, sandboxes and callers over TCP, on one daemon."""
    given = tmp_path / "given.txt"
    given.write_text("given")
    inputs = {"input_artifacts": [{"param_name": "input", "type": "text"}]}
    held, plain = (jobs.write([job(name)], name=name, **inputs) for name in ("contained", "plain"))
    run = Runs(contained, tmp_path, given)

    # Without its secret it is refused; with it, it runs, and nobody is shown the value.
    refused = contained.jobctl("submit", held, "--input", f"input={given}")
    assert (refused.code, "needs the secret 'API_KEY'" in refused.err) == (7, True)
    secret = [Path(sys.executable).with_name("jobd"), "secret", "set", "API_KEY", "--state-dir", contained.state]
    subprocess.run(secret, input=VALUE.encode(), check=True, timeout=60, env=contained.env)
    first, seen = run(held)
    assert seen["privileges"] == "1"
    assert sandbox.missing() or seen["processes"] <= 4
    assert STARS in contained.jobctl("logs", first).out
    told = contained.jobctl("explain", first).out
    assert "it is given API_KEY from the operator's secrets" in told
    assert sandbox.missing() or "in a sandbox without the network" in told
    given.write_text("fail")
    failed = contained.jobctl("submit", held, "--input", f"input={given}", "--wait")
    assert failed.code == 1
    assert f"refused {STARS}" in json.dumps(contained.get(failed.out.strip()))
    stored = [path for path in contained.state.rglob("*") if path.is_file() and VALUE.encode() in path.read_bytes()]
    assert stored == [contained.state / "secrets/API_KEY"]
    assert VALUE not in contained.log

    # One without a sandbox, forked from a warm interpreter, gains no privileges either. Over TCP its file is sent.
    given.write_text("given")
    assert run(plain)[1]["privileges"] == "1"
    over_tcp = {"JOBCTL_ADDRESS": f"127.0.0.1:{contained.tcp_port}", "JOBCTL_TOKEN_FILE": f"{contained.state}/token"}
    assert "PATH_NOT_ALLOWED" not in contained.log
    assert run(plain, **over_tcp)[1]["privileges"] == "1"
    assert "PATH_NOT_ALLOWED" in contained.log
    own = contained.jobctl("submit", plain, "--input", f"input={contained.state / 'token'}")
    assert (own.code, "what the daemon keeps itself" in own.err) == (7, True)


class Runs:
    """Runs jobs to their good ends."""

    def __init__(self, daemon: Any, folder: Path, given: Path) -> None:
        self._daemon = daemon
        self._folder = folder
        self._given = given

    def __call__(self, file: Path, **env: str) -> tuple[str, dict[str, Any]]:
        """Run a job file; give the job's id and what its module saw."""
        done = self._daemon.jobctl("submit", file, "--input", f"input={self._given}", "--wait", **env)
        assert done.code == 0, done.err
        job_id = done.out.strip()
        target = self._folder / job_id
        assert self._daemon.jobctl("download", job_id, "--to", target).code == 0
        seen: dict[str, Any] = json.loads((target / "out.json").read_text())
        return job_id, seen
