"""What List and WatchJobs ask for, read and checked."""

import base64

from google.protobuf.timestamp_pb2 import Timestamp
from jobapi.v1 import job_service_pb2 as pb

from jobd.errors import InvalidRequestError
from jobd.job_filter import JobFilter, LabelSelector
from jobd.rpc import convert

_MOST_SELECTORS = 64


def job_filter(request: pb.ListRequest | pb.WatchJobsRequest) -> JobFilter:
    """Read which jobs are asked for; InvalidRequestError for a filter that would not be understood as it is meant."""
    states = {convert.domain_job_state(value) for value in request.states}
    if None in states:
        # Left out, it would widen the question instead of narrowing it.
        raise InvalidRequestError("states holds one that this daemon does not know")
    if len(request.labels) > _MOST_SELECTORS:
        raise InvalidRequestError(f"labels holds more than {_MOST_SELECTORS} selectors")
    after, before = (
        (_seconds(request, "submitted_after"), _seconds(request, "submitted_before"))
        if isinstance(request, pb.ListRequest)
        else (None, None)
    )
    return JobFilter(
        states=frozenset(state for state in states if state is not None),
        name=request.name,
        name_prefix=request.name_prefix,
        owner=request.owner,
        labels=tuple(map(_selector, request.labels)),
        submitted_after=after,
        submitted_before=before,
    )


def write_page_token(before: int | None) -> str:
    """Give the token of the page before a job's number; empty when there is none."""
    return "" if before is None else base64.urlsafe_b64encode(f"1:{before}".encode()).decode()


def read_page_token(token: str) -> int | None:
    """Give the number that a page begins before, None for the first; InvalidRequestError when List never gave it."""
    if not token:
        return None
    try:
        version, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        if version == "1" and 0 < int(number) < 1 << 63:
            return int(number)
    except ValueError:
        pass
    raise InvalidRequestError("the page_token is not one that List gave", hint="begin anew without one")


def _selector(message: pb.LabelSelector) -> LabelSelector:
    if not message.key:
        raise InvalidRequestError("labels holds a selector without a key")
    return LabelSelector(key=message.key, value=message.value if message.HasField("value") else None)


def _seconds(request: pb.ListRequest, name: str) -> float | None:
    if not request.HasField(name):  # type: ignore[arg-type]
        return None
    moment: Timestamp = getattr(request, name)
    return moment.seconds + moment.nanos / 1e9
