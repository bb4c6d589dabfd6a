"""`jobctl module`: making, checking and running a module without a daemon."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobd.__main__ import main

pytestmark = pytest.mark.timeout(120)
MODULES = Path(__file__).parents[2] / "modules"


@pytest.fixture(autouse=True)
def umask():
    """What `jobd` does to its process is undone."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def run(*words, folder):
    """Run `jobctl module` as a program; gives its exit code, what it printed, and what it said."""
    command = [sys.executable, "-m", "jobctl", "module", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert "Traceback" not in done.stderr or "main.py" in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def module(tmp_path, capsys):
    """A new module's folder, and a file for it."""
    (tmp_path / "in.txt").write_text("hello\n")
    assert main(["module", "new", "copy", "--to", str(tmp_path)]) == 0
    capsys.readouterr()
    return tmp_path / "copy"


def change(module, before, after):
    """Change the module's script."""
    script = module / "main.py"
    assert before in script.read_text()
    script.write_text(script.read_text().replace(before, after))


def test_a_new_module_passes_its_own_test_and_the_check(tmp_path):
    """The folder is printed; what is in it runs as it stands."""
    code, printed, said = run("new", "video cutter", "--to", "src", folder=tmp_path)
    assert (code, printed) == (0, "src/video cutter\n")
    assert "jobctl module run" in said
    folder = tmp_path / "src" / "video cutter"
    assert {path.name for path in folder.iterdir()} == {"manifest.yaml", "main.py", "test_main.py"}
    command = [sys.executable, "-m", "unittest"]
    assert subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False).returncode == 0
    assert run("check", "src", folder=tmp_path)[:2] == (0, "video cutter: fine\n")
    assert run("new", "video cutter", "--to", "src", folder=tmp_path)[0] == 1


def test_the_modules_that_ship_are_fine(capsys):
    """Each of them passes."""
    assert main(["module", "check", str(MODULES)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len([path for path in MODULES.iterdir() if path.is_dir()])


def test_every_problem_is_told_with_file_and_line(module, capsys):
    """In the form that editors jump to: what is wrong with the manifest, and where the script does not compile."""
    change(module, "content = options", "content = = options")
    assert main(["module", "check", str(module)]) == 7
    line = next(i for i, text in enumerate((module / "main.py").read_text().splitlines(), 1) if "= =" in text)
    assert capsys.readouterr().err == f"{module}/main.py:{line}: invalid syntax\n"
    manifest = module / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("type: int", "type: integer").replace("outputs", "outpust"))
    assert main(["module", "check", str(module)]) == 7
    said = capsys.readouterr().err.splitlines()
    assert [text.split(": ")[0] for text in said] == [f"{manifest}:7", f"{manifest}:12"]
    assert "outputs" in said[0]
    (module / "manifest.yaml").write_text("name: [")
    assert main(["module", "check", str(module)]) == 7
    assert "not valid YAML" in capsys.readouterr().err


def test_a_run_makes_the_results_and_shows_the_log(module):
    """Results are whole and where they were asked for; the log and the progress are told; nothing else is left."""
    folder = module.parent
    words = ("run", "copy", "--input", "input=in.txt", "--param", "times=3", "--output", "output=o.txt", "--to", "res")
    code, printed, said = run(*words, folder=folder)
    assert (code, printed) == (0, f"{folder}/res/o.txt\n")
    assert (folder / "res" / "o.txt").read_text() == "hello\n" * 3
    assert "openjd_status: copying" in said
    assert "jobd: 100 %" in said
    assert [path.name for path in (folder / "res").iterdir()] == ["o.txt"]
    assert run(*words, folder=folder)[0] == 1
    assert run(*words, "--force", folder=folder)[0] == 0


def test_a_run_is_judged_as_the_daemon_judges(module):
    """A reason of the module's own, a missing output and a limit each fail with the daemon's words."""
    folder = module.parent
    (folder / "empty").touch()
    code, printed, said = run("run", "copy", "--input", "input=empty", "--to", "res", folder=folder)
    assert (code, printed) == (1, "")
    assert "copy failed: empty is empty" in said
    change(module, "content = options", "return; content = options")
    assert "did not make 'output'" in run("run", "copy", "--input", "input=in.txt", folder=folder)[2]
    manifest = module / "manifest.yaml"
    manifest.write_text(manifest.read_text() + "timeout: 500ms\nretries: 1\nretry_on: [exit_code]\n")
    change(module, "return; content", "import time; time.sleep(60); content")
    code, _, said = run("run", "copy", "--input", "input=in.txt", folder=folder)
    assert code == 1
    assert "timeout" in said
    assert "attempt 1 failed" not in said
    assert [path.name for path in (folder / "res").iterdir()] == []


def test_a_module_has_what_its_manifest_asks_for(module):
    """What an operator would lend it is not asked for on an author's machine; numbers are read as in a job file."""
    manifest = module / "manifest.yaml"
    asked = "resources: {cpus: 500, gpus: 1, counters: {licences: 2}, memory: 1GiB}"
    manifest.write_text(f"{manifest.read_text()}{asked}\n")
    words = ("--input", "input=in.txt", "--param", "times=+2")
    code, printed, said = run("run", "copy", *words, folder=module.parent)
    assert (code, printed) == (0, f"{module.parent / 'output'}\n"), said
    assert (module.parent / "output").read_text() == "hello\n" * 2


def test_a_module_is_run_as_the_daemon_runs_it(module):
    """A private working directory, a short environment, absolute paths, and the names of the files that were given."""
    folder = module.parent
    told = "import json, os, sys; print(json.dumps([os.getcwd(), dict(os.environ), sys.argv])); content = options"
    change(module, "content = options", told)
    environment = {**os.environ, "SECRET_OF_THE_SHELL": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "jobctl", "module", "run", "copy", "--input", "input=in.txt"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    place, seen, words = json.loads(next(line for line in done.stderr.splitlines() if line.startswith("[")))
    assert not Path(place).exists()
    assert "SECRET_OF_THE_SHELL" not in seen
    assert seen["JOBD_ATTEMPT"] == "1"
    assert Path(words[words.index("--input") + 1]).is_absolute()
    assert Path(words[words.index("--input") + 1]).name == "in.txt"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "copy"], 7, "input 'input' of module 'copy' is missing"),
        (["run", "copy", "--input", "input=in.txt", "--param", "times=x"], 7, "must be a whole number"),
        (["run", "copy", "--input", "input=in.txt", "--param", "times=101"], 7, "out of range"),
        (["run", "copy", "--input", "input=in.txt", "--param", "tmies=1"], 7, "times"),
        (["run", "copy", "--input", "input=in.txt", "--output", "output=../x"], 7, "path separator"),
        (["run", "copy", "--input", "input=in.txt", "--input", "input=in.txt"], 7, "given twice"),
        (["run", "copy", "--input", "nope=in.txt"], 2, "it has: input"),
        (["run", "copy", "--input", "input"], 2, "not of the form"),
        (["run", "copy", "--input", "input=none"], 7, "none"),
        (["run", "nowhere"], 6, "there is no such folder"),
        (["check", "."], 0, ""),
        (["check", "copy/none"], 6, "there is no such folder"),
        (["new", "../x"], 2, "path separator"),
        (["new", ""], 2, "must not be empty"),
    ],
)
def test_what_cannot_be_done_is_told(module, capsys, words, code, said):
    """With jobctl's exit codes and in one line or two."""
    with contextlib.chdir(module.parent):
        assert main(["module", *words]) == code
    assert said in capsys.readouterr().err


def test_ctrl_c_ends_the_module_and_leaves_nothing(module):
    """The module is ended as a cancel does, the exit code is 130, and its folder is gone."""
    folder = module.parent
    change(module, "content = options", "print('here', flush=True); import time; time.sleep(100); content = options")
    command = [sys.executable, "-m", "jobctl", "module", "run", "copy", "--input", "input=in.txt", "--to", "res"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for line in process.stderr:
            if b"here" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(60) == 130
    assert b"was ended: interrupted" in rest
    assert list((folder / "res").iterdir()) == []
