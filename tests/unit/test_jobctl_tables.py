"""Jobs as tables and facts."""

from jobapi.v1 import job_pb2
from jobctl.job_tables import format_job, format_jobs


def test_a_job_is_told_with_its_record_and_what_it_retries():
    """Whether the dashboard's record is complete is told of ended jobs only; `wide` adds columns."""
    job = job_pb2.Job(id="j1", name="demo", state="JOB_STATE_RUNNING")
    job.steps.add(name="s").entries.add(name="e", module="m", inputs=["in.mp4"])
    assert "record" not in "\n".join(format_job(job))
    job.state, job.retry_of = job_pb2.JOB_STATE_SUCCEEDED, "j0"
    told = format_job(job)
    assert ("record:    being compared" in told, "retry of:  j0" in told) == (True, True)
    job.recorded = True
    assert "record:    complete" in format_job(job)
    narrow, wide = format_jobs([job]), format_jobs([job], wide=True)
    assert ("complete" in narrow[1], "complete" in wide[1]) == (False, True)
    assert all(line.startswith(short.rstrip()) for line, short in zip(wide, narrow, strict=True))
    assert "TAKES" in "\n".join(format_job(job, wide=True))
