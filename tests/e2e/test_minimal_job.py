"""The example of the documentation, word for word, and what a person finds of it afterwards."""

from pathlib import Path

import av

ROOT = Path(__file__).parents[2]


def test_the_minimal_example_runs_and_leaves_its_public_output(daemon, sample, tmp_path):
    """It ends with 0 and the id alone on standard output; the sound can be fetched, the video is gone."""
    done = daemon.jobctl("submit", ROOT / "examples/minimal.yaml", "--input", f"input={sample}", "--watch")
    assert done.code == 0, done.err
    job_id = done.out.strip()
    assert done.out == f"{job_id}\n"
    assert "SUCCEEDED" in done.err

    fetched = daemon.jobctl("download", job_id, "--to", tmp_path / "results")
    assert fetched.code == 0, fetched.err
    assert fetched.out == f"{tmp_path}/results/audio.wav\n"
    with av.open(tmp_path / "results/audio.wav") as sound:
        assert sum(frame.samples for frame in sound.decode(audio=0)) > sound.streams.audio[0].rate

    folder = daemon.state / "jobs" / job_id
    assert [path.name for path in (folder / "artifacts").iterdir()] == ["audio.wav"]
    daemon.wait_cleared(job_id)
    gone = daemon.jobctl("download", job_id, "video.mp4", "--to", tmp_path)
    assert gone.code == 6
    assert "was removed: its last consumer has succeeded" in gone.err
    assert sample.exists()


def test_prefect_shows_the_job_as_a_flow_run_with_a_task_run_for_each_entry(daemon, jobs):
    """Names, tags and states are those that the documentation promises, within 10 s of the job's end."""
    first = [jobs.act("a", name="left"), jobs.act("b", name="right")]
    job_id = daemon.submit(jobs.write(first, [jobs.act("c", "a", "b", public=True)], name="three"), "--wait")
    run = daemon.final_run(job_id, tasks=3)
    assert (run["name"], run["state_type"]) == (f"three-{job_id[:8]}", "COMPLETED")
    assert sorted(run["tags"]) == sorted(["jobd", f"job:{job_id}"])
    assert sorted(task["name"] for task in run["tasks"]) == ["step1/left", "step1/right", "step2/act"]
    assert {task["state_type"] for task in run["tasks"]} == {"COMPLETED"}
    assert daemon.get(job_id)["flow_run_id"] == run["id"]


def test_an_input_beside_the_job_file_is_found(daemon, sample, tmp_path):
    """Without --input, the file is taken that has the name which the entries use."""
    (tmp_path / "job.yaml").write_text((ROOT / "examples/minimal.yaml").read_text())
    (tmp_path / "video.mp4").symlink_to(sample)
    assert daemon.jobctl("submit", tmp_path / "job.yaml", "--wait").code == 0


def test_a_folder_travels_in_and_out(daemon, jobs, tmp_path):
    """An input may be a folder, and so may an output; both keep what is in them."""
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/name with spaces").write_bytes(b"\0\xff")
    entry = {
        "module": "mirror",
        "input_artifacts": [{"name": "tree", "param_name": "source", "type": "folder"}],
        "output_artifacts": [{"name": "copy", "param_name": "target", "type": "folder", "public": True}],
    }
    job = jobs.write([entry], input_artifacts=[{"param_name": "source", "type": "folder"}])
    for number, how in enumerate(([], ["--upload"])):
        job_id = daemon.submit(job, "--input", f"source={tmp_path}/in", "--wait", *how)
        assert daemon.jobctl("download", job_id, "--to", tmp_path / f"out{number}").code == 0
        copy = tmp_path / f"out{number}/copy"
        assert (copy / "deep/name with spaces").read_bytes() == b"\0\xff"
        assert (copy / "added.txt").read_text() == "2 names"


def test_an_upload_gives_the_same_as_a_path(daemon, sample, tmp_path):
    """Bytes that go through the connection arrive whole."""
    job_id = daemon.submit(ROOT / "examples/minimal.yaml", "--input", f"input={sample}", "--upload", "--wait")
    (video,) = [item for item in daemon.get(job_id)["artifacts"] if item["name"] == "video.mp4"]
    assert video["size_bytes"] == sample.stat().st_size


def test_an_upload_that_is_submitted_again_gives_the_same_job(daemon, sample):
    """A repeated submit with one request id may send the bytes again."""
    submit = (ROOT / "examples/minimal.yaml", "--input", f"input={sample}", "--upload", "--request-id", "sent-twice")
    first = daemon.submit(*submit, "--wait")
    assert daemon.submit(*submit) == first
