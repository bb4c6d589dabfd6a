"""The Python client as a user's program uses it."""

import re
from pathlib import Path

import pytest
from jobapi.v1 import job_pb2
from jobctl import Client
from jobctl.errors import InvalidJobError, JobNotEndedError, TimedOutError

GUIDE = Path(__file__).parents[3] / "docs" / "python-client.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def client(daemon):
    """A client of the daemon."""
    with Client.connect() as made:
        yield made


def test_the_guide_does_what_it_says(daemon, job_file, monkeypatch, capsys):
    """The guide's programs run one after another, and print what stands below each."""
    del daemon.job.artifacts[1]
    daemon.files["audio.wav"] = bytes(700_000)
    monkeypatch.chdir(job_file.parent)
    blocks = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    checked = 0
    for kind, content in blocks:
        if kind == "python":
            exec(compile(content, str(GUIDE), "exec"), names)
        else:
            assert content == capsys.readouterr().out
            checked += 1

    assert checked == sum(kind == "python" for kind, _ in blocks) == 5
    assert (job_file.parent / "results" / "audio.wav").stat().st_size == 700_000


def test_the_first_example_has_ten_lines_or_so():
    """What one needs to begin is short."""
    code = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))[0][1]

    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_inputs_go_by_path_or_by_their_bytes(daemon, client, job_file):
    """A daemon on this machine gets absolute paths; messages that are ready go as they are."""
    video = job_file.parent / "video.mp4"
    uploaded = client.make_input("input", video, upload=True)
    client.submit(job_file, inputs={"input": str(video)})
    client.submit(job_file, inputs=[uploaded])

    assert [str(video), ""] == [request.inputs[0].path for request in daemon.submits]
    assert daemon.uploads[uploaded.upload_id] == (False, b"moving pictures")
    assert len({request.request_id for request in daemon.submits}) == 2


def test_a_job_file_that_cannot_be_used_is_refused_before_it_is_sent(daemon, client, tmp_path):
    """A missing file, one that is too large, and content that is, are errors of the job."""
    (tmp_path / "big.yaml").write_bytes(b"#" * (2 * 1024 * 1024 + 1))
    for job in (tmp_path / "none.yaml", tmp_path / "big.yaml", b"#" * (2 * 1024 * 1024 + 1)):
        with pytest.raises(InvalidJobError):
            client.submit(job)
    assert daemon.submits == []


def test_wait_gives_the_job_at_its_end(daemon, client):
    """An ended job is given at once; one that goes on is given up at the timeout; both leave it as it is."""
    assert client.wait("@latest").artifacts[0].name == "audio.wav"
    daemon.others["running"] = job_pb2.Job(id="running", state=job_pb2.JOB_STATE_RUNNING)
    with pytest.raises(TimedOutError):
        client.wait("running", timeout=0.2)
    with pytest.raises(JobNotEndedError):
        client.delete("running")
    assert client.delete("@latest") == "job7f3a"
