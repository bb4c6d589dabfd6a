"""Measures the time from Submit to the start of the first module's process, as the median over several jobs.

    python benchmarks/submit_latency.py --address unix:PATH --video VIDEO [--count 20]

Needs a running daemon that is warm: its Prefect server ready and nothing else to do.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import grpc
from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1.job_service_pb2_grpc import JobServiceStub

EXAMPLE = Path(__file__).parent.parent / "examples" / "minimal.yaml"


def measure_one(jobs: JobServiceStub, video: Path) -> tuple[float, float]:
    """Give the milliseconds from the call of Submit to its answer, and to the start of the first module's process."""
    inputs = [pb.JobInput(param_name="input", path=str(video))]
    begun = time.time()
    job = jobs.Submit(pb.SubmitRequest(job_yaml=EXAMPLE.read_bytes(), inputs=inputs)).job
    answered = time.time()
    started = 0.0
    for message in jobs.Watch(pb.WatchRequest(id=job.id)):
        if message.event.WhichOneof("kind") == "entry_started":
            started = message.event.time.ToNanoseconds() / 1e9
    return (answered - begun) * 1000, (started - begun) * 1000


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    arguments = parser.parse_args()
    jobs = JobServiceStub(grpc.insecure_channel(arguments.address))
    measure_one(jobs, arguments.video.absolute())
    answers, starts = zip(*(measure_one(jobs, arguments.video.absolute()) for _ in range(arguments.count)), strict=True)
    figures = {
        "count": arguments.count,
        "submit_answer_ms": {"median": statistics.median(answers), "max": max(answers)},
        "first_process_ms": {"min": min(starts), "median": statistics.median(starts), "max": max(starts)},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
