"""What Prometheus is told of the daemon as it is at the moment of the question."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The daemon at the moment at which Prometheus asks."""

    jobs: Mapping[str, int] = field(default_factory=dict)
    """Jobs that have not ended, by state."""
    entries: Mapping[str, int] = field(default_factory=dict)
    """Entries of these jobs, by state."""
    used: Mapping[str, float] = field(default_factory=dict)
    """What is leased, by resource."""
    capacity: Mapping[str, float] = field(default_factory=dict)
    """What can be leased, by resource."""
    watches: int = 0
    waiting: int = 0
    """Wishes in the scheduler's queue."""
    prefect_ready: bool = False
    unrecorded: int = 0
    """Ended jobs whose record at Prefect is not known to be complete; what is beyond a bound is not counted."""
    disk_free: int = 0
    disk_reserve: int = 0
    store_writable: bool = True
    nursery_restarts: int = 0
    loop_lag: float = 0.0
    """For how many seconds the event loop let this question wait."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A number that is looked at: its name, its text, and how it is read."""

    name: str
    text: str
    read: Callable[[Sample], Mapping[str, float] | float]
    label: str = ""
    counts: bool = False
    """Whether it only ever grows."""


_LOOKS = (
    _Look("jobd_jobs", "Jobs that have not ended.", lambda sample: sample.jobs, "state"),
    _Look("jobd_entries", "Entries of jobs that have not ended.", lambda sample: sample.entries, "state"),
    _Look("jobd_capacity_used", "What is leased to entries.", lambda sample: sample.used, "resource"),
    _Look("jobd_capacity", "What can be leased; memory 0 is any.", lambda sample: sample.capacity, "resource"),
    _Look("jobd_scheduler_queue_length", "Wishes for capacity that wait.", lambda sample: sample.waiting),
    _Look("jobd_watches_open", "Watches that go on.", lambda sample: sample.watches),
    _Look("jobd_prefect_ready", "1 while Prefect's server answers.", lambda sample: sample.prefect_ready),
    _Look("jobd_recorder_backlog", "Ended jobs not known to be whole at Prefect.", lambda sample: sample.unrecorded),
    _Look("jobd_disk_free_bytes", "Free on the state directory's disk.", lambda sample: sample.disk_free),
    _Look("jobd_disk_reserve_bytes", "What of it is to stay free.", lambda sample: sample.disk_reserve),
    _Look("jobd_store_writable", "0 after a write that was refused.", lambda sample: sample.store_writable),
    _Look(
        "jobd_nursery_restarts",
        "Nurseries that were started anew.",
        lambda sample: sample.nursery_restarts,
        counts=True,
    ),
    _Look("jobd_event_loop_lag_seconds", "How long the event loop let wait.", lambda sample: sample.loop_lag),
)


class SampleCollector(Collector):
    """Tells what is looked at. When the daemon does not answer in time, only that is told."""

    def __init__(self, take: Callable[[], Sample | None]) -> None:
        """Take a sample by `take` at each question; None means that the daemon's event loop does not answer."""
        self._take = take

    def collect(self) -> Iterable[Metric]:
        """Look, and give every number."""
        sample = self._take()
        yield GaugeMetricFamily("jobd_up", "0 while the event loop does not answer.", value=float(sample is not None))
        if sample is not None:
            yield from (_read(look, sample) for look in _LOOKS)


def _read(look: _Look, sample: Sample) -> Metric:
    value = look.read(sample)
    if look.counts:
        return CounterMetricFamily(look.name, look.text, value=float(cast("float", value)))
    if not isinstance(value, Mapping):
        return GaugeMetricFamily(look.name, look.text, value=float(value))
    family = GaugeMetricFamily(look.name, look.text, labels=(look.label,))
    for key, amount in sorted(value.items()):
        family.add_metric((key,), float(amount))
    return family
