"""A process that submits jobs one after another and notes how long each call takes.

It is a process of its own, as `jobctl` is: beside dozens of threads that follow jobs, a call would wait for one
interpreter's lock, and that would count as the daemon's.
"""

import time
from multiprocessing.connection import Connection

import grpc
from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1.job_service_pb2_grpc import JobServiceStub

READY = "ready"
"""Comes through the pipe when it is about to begin."""
OVER = "over"
"""Sent through the pipe to have it end."""


def submit_many(address: str, document: bytes, most: int, pause: float, pipe: "Connection[object, object]") -> None:
    """Submit a job after every pause, in seconds, until told that it is over; answer with the milliseconds of each."""
    taken: list[float] = []
    try:
        with grpc.insecure_channel(address) as channel:
            jobs = JobServiceStub(channel)
            grpc.channel_ready_future(channel).result(timeout=60)
            pipe.send(READY)
            while not pipe.poll(pause):
                if len(taken) < most:
                    begun = time.perf_counter()
                    jobs.Submit(pb.SubmitRequest(job_yaml=document))
                    taken.append((time.perf_counter() - begun) * 1000)
        pipe.send(taken)
    except (grpc.RpcError, grpc.FutureTimeoutError) as error:
        pipe.send(f"{type(error).__name__}: {error}")
