"""Submitting and checking job files: what is printed, what is sent, and what is refused."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from jobapi.v1 import job_pb2, job_service_pb2
from jobctl.__main__ import main


def read_errors(capsys):
    """Give what standard error holds, without what standard output holds."""
    return capsys.readouterr().err


def test_submit_prints_the_id_alone(daemon, job_file, capsys):
    """Standard output has the id and nothing else; the hints are on standard error."""
    assert main(["submit", str(job_file), "--priority", "7", "--label", "team=media"]) == 0

    output = capsys.readouterr()
    assert output.out == "job7f3a\n"
    assert "jobctl watch job7f3a" in output.err
    [request] = daemon.submits
    assert request.job_yaml == b"name: demo\n"
    assert (request.priority, dict(request.labels)) == (7, {"team": "media"})
    assert len(request.request_id) == 36


def test_submit_finds_the_input_beside_the_job_file(daemon, job_file):
    """An input that was not given is taken from beside the job file and passed by its absolute path."""
    assert main(["submit", str(job_file)]) == 0

    [given] = daemon.submits[0].inputs
    assert ("input", str(job_file.parent / "video.mp4")) == (given.param_name, given.path)


def test_submit_watches_with_the_view_on_standard_error(daemon, job_file, capsys):
    """`submit --watch` keeps standard output for the id."""
    assert main(["submit", str(job_file), "--watch"]) == 0

    output = capsys.readouterr()
    assert output.out == "job7f3a\n"
    assert "cut/audio  started" in output.err


def test_submit_waits_silently_and_exits_with_the_jobs_code(daemon, job_file, make_history):
    """`submit --wait` exits with the job's code."""
    daemon.events = make_history("job_failed")
    daemon.job.state = job_pb2.JOB_STATE_FAILED

    assert main(["submit", str(job_file), "--wait"]) == 1


def test_submit_is_retried_with_the_same_request_id(daemon, job_file):
    """A daemon that is away for a moment gets the same request again."""
    daemon.submit_failures = 2

    assert main(["submit", str(job_file), "--request-id", "mine"]) == 0
    assert [request.request_id for request in daemon.submits] == ["mine"] * 3


def test_violations_are_all_told_and_nothing_is_submitted(daemon, job_file, capsys):
    """A bad job file exits with 7 and a line for each violation that an editor can jump to."""
    daemon.violations = [
        job_service_pb2.Violation(path="steps[0].name", line=3, message="is missing", hint="add it"),
        job_service_pb2.Violation(path="", line=0, message="is empty"),
    ]

    assert main(["submit", str(job_file)]) == 7

    lines = read_errors(capsys).splitlines()
    assert [f"{job_file}:3: steps[0].name: is missing (add it)", f"{job_file}: is empty"] == lines[:2]
    assert daemon.submits == []


def test_violations_as_json(daemon, job_file, capsys):
    """With `-o json` the error is JSON on standard error, violations included."""
    daemon.violations = [job_service_pb2.Violation(path="name", line=1, message="is missing")]

    assert main(["submit", str(job_file), "-o", "json"]) == 7

    error = json.loads(read_errors(capsys))["error"]
    assert (error["exit_code"], error["reason"]) == (7, "INVALID_JOB")
    assert error["violations"] == [
        {"file": str(job_file), "path": "name", "line": 1, "message": "is missing", "hint": ""}
    ]


@pytest.mark.parametrize("command", ["submit", "validate"])
def test_a_job_file_that_is_too_large_is_refused(daemon, tmp_path, capsys, command):
    """More than 2 MiB are not even sent."""
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (2 * 1024 * 1024 + 1))

    assert main([command, str(path)]) == 7
    assert "larger than 2 MiB" in read_errors(capsys)


def test_a_missing_job_file_and_a_missing_input_are_told(daemon, tmp_path, job_file, capsys):
    """What cannot be read ends with 7 and names the path and the option."""
    assert main(["submit", str(tmp_path / "none.yaml")]) == 7
    assert "none.yaml" in read_errors(capsys)
    assert main(["submit", str(job_file), "--input", f"input={tmp_path}/none.mp4"]) == 7
    assert "none.mp4" in read_errors(capsys)
    (tmp_path / "video.mp4").unlink()
    assert main(["submit", str(job_file)]) == 7
    assert "--input input=PATH" in read_errors(capsys)
    assert daemon.submits == []


def test_an_unknown_input_is_a_usage_error_with_the_known_ones(daemon, job_file, capsys):
    """An `--input` that the job does not take names those that it takes."""
    assert main(["submit", str(job_file), "--input", "imput=x"]) == 2
    assert "it has: input" in read_errors(capsys)


def test_a_dry_run_shows_the_plan_and_stores_nothing(daemon, job_file, capsys):
    """The plan names the entry and the file that would be used."""
    assert main(["submit", str(job_file), "--dry-run"]) == 0

    output = capsys.readouterr().out
    assert "extract_audio" in output
    assert "video.mp4" in output
    assert daemon.submits == []


def test_inputs_are_uploaded_where_asked(daemon, job_file, tmp_path):
    """A file arrives as it is, a folder as a tar with names relative to it."""
    folder = tmp_path / "stills"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.png").write_bytes(b"a" * 300_000)

    assert main(["submit", str(job_file), "--upload"]) == 0
    assert main(["submit", str(job_file), "--upload", "--input", f"input={folder}"]) == 0

    assert daemon.uploads["upload0"] == (False, b"moving pictures")
    assert [request.inputs[0].upload_id for request in daemon.submits] == ["upload0", "upload1"]
    is_folder, data = daemon.uploads["upload1"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["sub", "sub/a.png"]
        assert tar.extractfile("sub/a.png").read() == b"a" * 300_000
    assert is_folder


def test_a_folder_that_cannot_be_sent_whole_completes_no_upload(daemon, job_file, tmp_path, capsys):
    """A failure while sending cancels the upload: half of a folder never counts as one."""
    folder = tmp_path / "stills"
    folder.mkdir()
    os.mkfifo(folder / "pipe")

    assert main(["submit", str(job_file), "--upload", "--input", f"input={folder}"]) == 7
    assert "neither a file nor a folder" in read_errors(capsys)
    daemon.stop()  # which waits for the ends of all calls
    assert daemon.uploads == {}
    assert daemon.submits == []


def test_standard_input_is_a_job_file(daemon, job_file):
    """`submit -` reads the job from standard input and looks for inputs in the working directory."""
    done = subprocess.run(
        [sys.executable, "-m", "jobctl", "submit", "-"],
        input=b"name: piped\n", cwd=job_file.parent, capture_output=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, b"job7f3a\n")
    assert daemon.submits[0].job_yaml == b"name: piped\n"


def run(*words, **how):
    """Run jobctl as a program."""
    return subprocess.run(
        [sys.executable, "-m", "jobctl", *words], check=False, stderr=subprocess.PIPE, timeout=60, **how
    )


def test_an_id_that_cannot_be_printed_is_told_all_the_same(daemon, job_file):
    """A job that was accepted is not lost with the file that was to have its id."""
    with Path("/dev/full").open("wb") as full:
        done = run("submit", str(job_file), stdout=full)
    assert (done.returncode, len(daemon.submits)) == (1, 1)
    assert b"job job7f3a was accepted, but standard output cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["list"], ["get", "@latest"], ["ping"], ["watch", "@latest"]])
def test_output_that_cannot_be_written_is_one_line(daemon, words):
    """A full disk is no traceback."""
    with Path("/dev/full").open("wb") as full:
        done = run(*words, stdout=full)
    assert done.returncode == 1
    assert b"standard output: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_input_whose_name_is_no_text_is_uploaded(daemon, job_file, tmp_path):
    """A path that cannot be told to a daemon need not be: it gets the bytes."""
    film = tmp_path / os.fsdecode(b"film\xff.mp4")
    film.write_bytes(b"moving")
    done = run("submit", str(job_file), "--input", f"input={film}", stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    [given] = daemon.submits[0].inputs
    assert given.upload_id


def test_words_that_are_no_text_are_a_usage_error(daemon, job_file):
    """What a daemon cannot be told is told to whoever typed it."""
    done = run("cancel", "@latest", "--reason", os.fsdecode(b"\xff"), stdout=subprocess.PIPE)
    assert (done.returncode, b"is no text" in done.stderr, b"Traceback" in done.stderr) == (2, True, False)


def test_an_input_that_cannot_be_looked_at_is_told(daemon, job_file, capsys):
    """A name that no file can have is an input that cannot be read."""
    assert main(["submit", str(job_file), "--input", f"input=/{'x' * 300}"]) == 7
    assert "cannot be read" in read_errors(capsys)
    assert daemon.submits == []
