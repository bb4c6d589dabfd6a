"""What jobs are called in Prefect."""

import re

TAG = "jobd"
"""Every flow run of ours has it."""
JOB_TAG = "job:"
"""What stands before the job's id in the tag that names it."""


def flow_name(name: str) -> str:
    """Give a job's name without the characters that Prefect refuses in a flow's."""
    return re.sub(r"[/%&<>]", "_", name)


def flow_run_name(name: str, job_id: str) -> str:
    """Name the flow run of a job."""
    return f"{name}-{job_id[:8]}"


def flow_run_tags(job_id: str) -> tuple[str, str]:
    """Give the tags by which the flow runs of all jobs, and those of one job, are found."""
    return (TAG, f"{JOB_TAG}{job_id}")
