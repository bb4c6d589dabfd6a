"""What a machine has to give, written as `cpus=4,memory=8GiB,gpus=1,licences=2`."""

import os

from pydantic import TypeAdapter

from jobd.fields import BytesAsText
from jobd.plan import Capacity

_BYTES: TypeAdapter[int] = TypeAdapter(BytesAsText)


def parse_capacity(text: str) -> Capacity:
    """Read a capacity; what is not named is this machine's cpus, any memory, and none of the rest.

    ValueError says what cannot be read.
    """
    amounts: dict[str, float] = {}
    memory = 0
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, amount = (piece.strip() for piece in part.partition("="))
        if not (name and equals and amount):
            raise ValueError(f"{part!r} is not NAME=AMOUNT")
        if name == "memory":
            memory = _BYTES.validate_python(amount)
        else:
            amounts[name] = _number(name, amount)
    cpus = amounts.pop("cpus", float(len(os.sched_getaffinity(0))))
    if cpus <= 0:
        raise ValueError("cpus must be more than 0")
    gpus = amounts.pop("gpus", 0.0)
    if gpus % 1:
        raise ValueError("gpus must be a whole number")
    return Capacity(cpus=cpus, memory=memory, gpus=int(gpus), counters=amounts)


def gpu_ids(capacity: Capacity) -> tuple[str, ...]:
    """Name the gpus that are handed out: those that the daemon itself may use, else 0, 1, 2 …

    ValueError when the daemon may use fewer than its capacity says.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = tuple(filter(None, (part.strip() for part in named.split(",")))) if named is not None else None
    if ids is None:
        return tuple(map(str, range(capacity.gpus)))
    if len(ids) < capacity.gpus:
        raise ValueError(f"gpus={capacity.gpus}, but CUDA_VISIBLE_DEVICES names {len(ids)}")
    return ids[: capacity.gpus]


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name}={text}: {text!r} is not a number") from None
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name}={text}: it must not be negative, and not without bound")
    return number
