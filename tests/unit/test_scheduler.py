"""Who gets capacity when: in order of priority and age, never more than there is, and taken over after a restart."""

import random
from dataclasses import dataclass, field

import pytest

from jobd.fair_share import Lease
from jobd.plan import Capacity, Resources
from jobd.scheduler import Scheduler
from jobd.turns import Policy

ONE, TWO = Resources(cpus=1), Resources(cpus=2)


@dataclass
class Clock:
    """A clock that stands unless it is set on."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@dataclass
class Machine:
    """A scheduler, its clock, and the grants it made, oldest first."""

    scheduler: Scheduler
    clock: Clock
    grants: list[tuple[str, str | None]] = field(default_factory=list)

    def new(self) -> list[tuple[str, str | None]]:
        """Give the grants since the last question."""
        made, self.grants[:] = list(self.grants), []
        return made


@pytest.fixture
def machine():
    """Give a function that makes a machine with jobs a, b, c, d known to it in this order."""

    def make(
        cpus: float = 2,
        priorities: tuple[int, ...] = (0, 0, 0, 0),
        policy: Policy | None = None,
        gpu_ids: tuple[str, ...] | None = None,
        **rest,
    ) -> Machine:
        grants: list[tuple[str, str | None]] = []
        clock = Clock()
        capacity = Capacity(cpus=cpus, **rest)
        ids = gpu_ids or tuple(map(str, range(capacity.gpus)))
        scheduler = Scheduler(capacity, policy=policy, gpu_ids=ids, clock=clock)
        scheduler.granted = lambda job_id, key, _lease: grants.append((job_id, key))
        for number, priority in enumerate(priorities):
            scheduler.know("abcd"[number], priority=priority, number=number)
        return Machine(scheduler, clock, grants)

    return make


def test_first_come_is_first_served(machine):
    """With room for two, the first two wishes are granted, and the next when one of them is given back."""
    it = machine()
    for key in ("x", "y", "z", "w"):
        it.scheduler.want("a", key, ONE)
    assert it.new() == [("a", "x"), ("a", "y")]
    it.scheduler.release("a", "x")
    assert it.new() == [("a", "z")]
    it.scheduler.release("a", "y")
    it.scheduler.release("a", "z")
    assert it.new() == [("a", "w")]


def test_an_older_job_goes_before_a_younger_one(machine):
    """A wish of an older job is granted before earlier wishes of a younger job."""
    it = machine(1)
    it.scheduler.want("c", "x", ONE)
    it.scheduler.want("b", "x", ONE)
    it.scheduler.want("a", "x", ONE)
    it.scheduler.release("c", "x")
    it.scheduler.release("a", "x")
    assert it.new() == [("c", "x"), ("a", "x"), ("b", "x")]


def test_priority_goes_before_age(machine):
    """The job of the highest priority is served first, whenever it came."""
    it = machine(1, priorities=(0, 5, -5, 0))
    it.scheduler.want("a", "x", ONE)
    for job_id in ("c", "d", "b"):
        it.scheduler.want_start(job_id, ONE)
    for job_id in ("a", "b", "d"):
        it.scheduler.forget(job_id)
    assert it.new() == [("a", "x"), ("b", None), ("d", None), ("c", None)]


def test_a_large_wish_is_not_overtaken(machine):
    """Small wishes behind a large one wait with it, so that it is not put off for ever."""
    it = machine(2)
    it.scheduler.want("a", "small", ONE)
    it.scheduler.want("b", "large", TWO)
    it.scheduler.want("c", "small", ONE)
    assert it.new() == [("a", "small")]
    it.scheduler.release("a", "small")
    assert it.new() == [("b", "large")]
    it.scheduler.release("b", "large")
    assert it.new() == [("c", "small")]


def test_a_start_sets_capacity_aside_for_the_first_wish(machine):
    """What a start was granted is held, and becomes the first lease instead of being held twice."""
    it = machine(1)
    it.scheduler.want_start("a", ONE)
    it.scheduler.want_start("b", ONE)
    assert it.new() == [("a", None)]
    assert it.scheduler.used().cpus == 1
    it.scheduler.want("a", "x", ONE)
    assert it.new() == [("a", "x")]
    assert it.scheduler.used().cpus == 1
    it.scheduler.release("a", "x")
    assert it.new() == [("b", None)]


def test_a_runners_first_word_leaves_what_was_set_aside_to_it(machine):
    """Between a runner's hello, in which it holds nothing, and its first wish nobody else takes its place."""
    it = machine(1)
    it.scheduler.want_start("a", ONE)
    it.scheduler.want_start("b", ONE)
    it.scheduler.restate("a", {})
    assert it.new() == [("a", None)]
    it.scheduler.want("a", "x", ONE)
    it.scheduler.restate("a", {"x": Lease(ONE)})
    assert (it.new(), it.scheduler.used().cpus) == ([("a", "x")], 1)


def test_a_wish_counts_once(machine):
    """A wish that is repeated, waiting or granted, changes nothing."""
    it = machine(1)
    for _ in range(3):
        it.scheduler.want("a", "x", ONE)
        it.scheduler.want("b", "x", ONE)
    assert it.new() == [("a", "x")]
    it.scheduler.release("a", "x")
    it.scheduler.release("b", "x")
    assert it.new() == [("b", "x")]
    assert (it.scheduler.used().cpus, it.scheduler.waits("b")) == (0, False)


def test_a_wish_can_be_taken_back(machine):
    """A wish that was released before it was granted is never granted, and makes way for the next."""
    it = machine(2)
    it.scheduler.want("a", "x", ONE)
    it.scheduler.want("b", "large", TWO)
    it.scheduler.want("c", "x", ONE)
    it.new()
    assert it.scheduler.waits("b")
    it.scheduler.release("b", "large")
    assert it.new() == [("c", "x")]
    assert not it.scheduler.waits("b")


def test_nothing_is_granted_while_held_back(machine):
    """After a restart nothing is granted until the runners have told what they hold."""
    it = machine(2)
    it.scheduler.hold_back()
    it.scheduler.want_start("b", ONE)
    it.scheduler.restate("a", {"x": Lease(ONE)})
    it.scheduler.want("a", "y", ONE)
    assert it.new() == []
    it.scheduler.resume()
    assert it.new() == [("b", None)]  # the newcomer first, as they have had the same
    it.scheduler.release("a", "x")
    assert it.new() == [("a", "y")]


def test_leases_beyond_the_capacity_are_honoured(machine):
    """A daemon that came back with less capacity counts what is held, and grants when enough was given back."""
    it = machine(1)
    it.scheduler.hold_back()
    it.scheduler.restate("a", {"x": Lease(TWO), "y": Lease(ONE)})
    it.scheduler.resume()
    it.scheduler.want("b", "x", ONE)
    assert (it.new(), it.scheduler.used().cpus) == ([], 3)
    it.scheduler.release("a", "x")
    assert it.new() == []
    it.scheduler.release("a", "y")
    assert it.new() == [("b", "x")]


def test_a_restated_job_holds_what_it_says_and_wants_nothing(machine):
    """A grant or a release that was lost with a runner's line is put right by the runner's next hello."""
    it = machine(2)
    it.scheduler.want("a", "lost grant", ONE)
    it.scheduler.want("a", "kept", ONE)
    it.scheduler.want("a", "waiting", TWO)
    it.new()
    it.scheduler.restate("a", {"kept": Lease(ONE)})
    assert it.scheduler.used().cpus == 1
    it.scheduler.want("a", "lost grant", ONE)
    assert it.new() == [("a", "lost grant")]


def test_forgetting_a_job_gives_everything_back(machine):
    """Leases, wishes and what was set aside go with the job; its late words change nothing."""
    it = machine(2)
    it.scheduler.want("a", "x", ONE)
    it.scheduler.want("a", "large", TWO)
    it.scheduler.want_start("b", TWO)
    it.new()
    it.scheduler.forget("a")
    assert it.new() == [("b", None)]
    it.scheduler.want("a", "y", ONE)
    it.scheduler.restate("a", {"z": Lease(ONE)})
    it.scheduler.release("a", "x")
    assert (it.new(), it.scheduler.used().cpus) == ([], 2)


@pytest.mark.parametrize(
    "impossible",
    [
        Resources(cpus=3),
        Resources(memory=101),
        Resources(gpus=2),
        Resources(counters={"licences": 2}),
        Resources(counters={"unheard of": 1}),
    ],
    ids=str,
)
def test_an_impossible_wish_waits(machine, impossible: Resources):
    """What can never be granted is not granted, and waits until it is taken back."""
    it = machine(2, memory=100, gpus=1, counters={"licences": 1})
    it.scheduler.want("a", "x", impossible)
    assert (it.new(), it.scheduler.waits("a")) == ([], True)
    it.scheduler.want("b", "x", ONE)
    it.scheduler.release("a", "x")
    assert it.new() == [("b", "x")]


def test_unstated_memory_fits_everything(machine):
    """A machine whose memory is not known refuses nobody for memory."""
    it = machine(2)
    it.scheduler.want("a", "x", Resources(memory=1 << 60))
    assert it.new() == [("a", "x")]


def test_tenths_of_cpus_add_up(machine):
    """Ten times a tenth of a cpu is one cpu, whatever binary fractions make of it."""
    it = machine(1)
    for number in range(11):
        it.scheduler.want("a", str(number), Resources(cpus=0.1))
    assert [("a", str(number)) for number in range(10)] == it.new()


def serve(it: Machine, wishes: dict[str, int], seconds: float) -> list[str]:
    """Let each job want so many entries, each of which takes the same time, and give the order of their grants."""
    for job_id, count in wishes.items():
        for number in range(count):
            it.scheduler.want(job_id, str(number), ONE)
    order: list[str] = []
    while new := it.new():
        order += [job_id for job_id, _ in new]
        it.clock.now += seconds
        for job_id, key in new:
            it.scheduler.release(job_id, str(key))
    return order


@pytest.mark.parametrize("seconds", [0.01, 1.0, 3600.0])
def test_jobs_of_one_priority_take_turns(machine, seconds):
    """However long entries take, no job gets a second one before each of the others has had one."""
    order = serve(machine(2), {"a": 4, "b": 4, "c": 4}, seconds)
    assert len(order) == 12
    first = order.index("b")
    rounds = [sorted(order[place : place + 3]) for place in range(first + 2, len(order) - 2, 3)]
    assert max(abs(order[:place].count("b") - order[:place].count("c")) for place in range(13)) <= 1
    assert all(len(set(part)) >= 2 for part in rounds)


def test_a_small_job_does_not_wait_for_a_large_one(machine):
    """A job that comes late shares from then on, and time in which it was not there is not made up for."""
    it = machine(1)
    for number in range(50):
        it.scheduler.want("a", str(number), ONE)
    for number in range(20):
        it.clock.now += 10
        it.scheduler.release("a", str(number))
    it.new()
    for number in range(5):
        it.scheduler.want("b", str(number), ONE)
    order = []
    running = ("a", "20")
    for _ in range(10):
        it.clock.now += 10
        it.scheduler.release(*running)
        ((job_id, key),) = it.new()
        running = (job_id, str(key))
        order.append(job_id)
    assert (order.count("a"), order.count("b")) == (5, 5)
    assert order[:2] != ["b", "b"]


def test_a_job_that_has_not_started_does_not_wait_for_a_large_one_that_has(machine):
    """However much a running job wants, the next room that it gives back is a newcomer's, and then they take turns."""
    it = machine(2)
    for number in range(10):
        it.scheduler.want("a", str(number), ONE)
    it.clock.now += 3600
    it.scheduler.want_start("b", ONE)
    it.scheduler.release("a", "0")
    assert it.new() == [("a", "0"), ("a", "1"), ("b", None)]
    for number in range(10):
        it.scheduler.want("b", str(number), ONE)
    it.scheduler.release("b", "0")
    it.clock.now += 1
    it.scheduler.release("a", "1")
    assert [job_id for job_id, _ in it.new()].count("b") >= 2


def test_many_jobs_of_one_moment_end_together(machine):
    """Jobs that ask for the same at once all come to their ends in the last quarter of the time."""
    it = machine(2, priorities=())
    names = [f"job{number}" for number in range(20)]
    left = dict.fromkeys(names, 10)
    for number, name in enumerate(names):
        it.scheduler.know(name, priority=0, number=number)
        it.scheduler.want_start(name, ONE)
    order: list[str] = []
    while new := it.new():
        it.clock.now += 0.5
        for name, key in new:
            if key is None:
                for number in range(10):
                    it.scheduler.want(name, str(number), ONE)
            else:
                order.append(name)
                left[name] -= 1
                it.scheduler.release(name, key)
                if not left[name]:
                    it.scheduler.forget(name)
    assert set(left.values()) == {0}
    last = {name: len(order) - order[::-1].index(name) for name in names}
    assert min(last.values()) >= len(order) * 0.75


def test_a_flood_of_small_jobs_starves_nobody(machine):
    """While more jobs come than can be served, each with one entry, a large job still gets a good part of the turns."""
    it = machine(1, priorities=())
    it.scheduler.know("large", priority=0, number=0)
    for number in range(100):
        it.scheduler.want("large", str(number), ONE)
    order = []
    for number in range(1, 61):
        for name in (f"small{number}", f"other{number}"):
            it.scheduler.know(name, priority=0, number=2 * number)
            it.scheduler.want_start(name, ONE)
        ((job_id, key),) = it.new()
        order.append(job_id)
        it.clock.now += 1
        if key is None:
            it.scheduler.want(job_id, "only", ONE)
            it.new()
            it.scheduler.forget(job_id)
        else:
            it.scheduler.release(job_id, key)
    assert order.count("large") >= 10


def test_time_without_wishes_is_not_saved_up(machine):
    """A job that wanted nothing for an hour, and one that comes then, share with those that worked meanwhile."""
    it = machine(1)
    it.scheduler.want("b", "first", ONE)
    it.scheduler.release("b", "first")
    for number in range(40):
        it.scheduler.want("a", str(number), ONE)
    for number in range(10):
        it.clock.now += 360
        it.scheduler.release("a", str(number))
    it.new()
    for number in range(10):
        it.scheduler.want("b", str(number), ONE)
        it.scheduler.want("c", str(number), ONE)
    running, order = ("a", "10"), []
    for _ in range(9):
        it.clock.now += 10
        it.scheduler.release(*running)
        ((job_id, key),) = it.new()
        running = (job_id, str(key))
        order.append(job_id)
    assert {job_id: order.count(job_id) for job_id in "abc"} == {"a": 3, "b": 3, "c": 3}


def test_a_queue_of_what_does_not_fit_hides_nobody(machine):
    """Behind a thousand jobs that wait for what somebody else holds, the one that needs none of it starts."""
    it = machine(1, priorities=(), counters={"gate": 1})
    for number in range(1002):
        it.scheduler.know(f"job{number}", priority=0, number=number)
    gated = Resources(cpus=0, counters={"gate": 1})
    for number in range(1001):
        it.scheduler.want_start(f"job{number}", gated)
    it.scheduler.want_start("job1001", ONE)
    assert it.new() == [("job0", None), ("job1001", None)]


def test_who_uses_more_of_the_machine_gets_fewer_turns(machine):
    """The account is of shares of the machine, not of entries."""
    it = machine(4)
    for number in range(12):
        it.scheduler.want("a", str(number), Resources(cpus=4))
        it.scheduler.want("b", str(number), Resources(cpus=1))
    order = []
    for _ in range(8):
        new = it.new()
        order += [job_id for job_id, _ in new]
        it.clock.now += 10
        for job_id, key in new:
            it.scheduler.release(job_id, str(key))
    assert order.count("b") > order.count("a") > 1


def test_waiting_raises_a_job_to_the_highest_and_no_further(machine):
    """A job of low priority is served at last, although jobs of high priority always want more."""
    it = machine(1, priorities=(5, 0), policy=Policy(ageing=60))
    it.scheduler.want("b", "x", ONE)
    it.scheduler.release("b", "x")
    it.new()
    it.scheduler.want("a", "0", ONE)
    it.scheduler.want("b", "y", ONE)
    served = []
    for number in range(1, 10):
        it.scheduler.want("a", str(number), ONE)
        it.clock.now += 50
        it.scheduler.release("a", str(number - 1))
        served += it.new()
        if ("b", "y") in served:
            break
    assert 5 <= len(served) <= 8


def test_a_wish_for_a_gpu_stops_no_work_that_needs_none(machine):
    """What lacks only a gpu keeps only gpus from others."""
    it = machine(4, gpus=1)
    it.scheduler.want("a", "first", Resources(cpus=1, gpus=1))
    it.scheduler.want("b", "second", Resources(cpus=1, gpus=1))
    it.scheduler.want("c", "plain", ONE)
    it.scheduler.want("d", "third", Resources(cpus=1, gpus=1))
    assert it.new() == [("a", "first"), ("c", "plain")]
    it.scheduler.release("a", "first")
    assert it.new() == [("b", "second")]


def test_a_wish_for_two_scarce_things_is_not_put_off_for_ever(machine):
    """Streams of wishes for the one and for the other keep it from both only for a while."""
    it = machine(cpus=16, memory=16, gpus=1)
    gpu, memory = Resources(cpus=1, gpus=1), Resources(cpus=1, memory=12)
    it.scheduler.want("b", "gpu0", gpu)
    it.scheduler.want("c", "memory0", memory)
    it.scheduler.want("a", "both", Resources(cpus=1, memory=12, gpus=1))
    it.new()
    for number in range(1, 20):
        it.clock.now += 5
        it.scheduler.want("b", f"gpu{number}", gpu)
        it.scheduler.release("b", f"gpu{number - 1}")
        it.clock.now += 5
        it.scheduler.want("c", f"memory{number}", memory)
        it.scheduler.release("c", f"memory{number - 1}")
        if ("a", "both") in it.new():
            break
    assert 6 <= number <= 8  # once it has waited for a minute
    assert ("a", "both") not in it.new()


def test_what_can_never_be_granted_keeps_nobody_from_being_first(machine):
    """A wish that no longer fits the machine, in front of all, does not put off the one for two scarce things."""
    it = machine(cpus=16, counters={"x": 1, "y": 1}, priorities=(0, 0, 0, 9))
    it.scheduler.want("d", "impossible", Resources(cpus=99))
    for number in range(20):
        for name, job in (("x", "b"), ("y", "c")):
            it.clock.now += 5
            it.scheduler.want(job, f"{name}{number}", Resources(cpus=1, counters={name: 1}))
            it.scheduler.release(job, f"{name}{number - 1}")
        if number == 0:
            it.scheduler.want("a", "both", Resources(cpus=1, counters={"x": 1, "y": 1}))
        if ("a", "both") in it.new():
            break
    assert 6 <= number <= 9


def test_a_wish_that_waits_for_long_leaves_what_is_common_to_others(machine):
    """Cpus and memory do not idle for the sake of one that lacks a gpu."""
    it = machine(cpus=4, memory=10, gpus=1)
    it.scheduler.want("a", "long", Resources(cpus=1, gpus=1))
    it.scheduler.want("b", "next", Resources(cpus=1, memory=5, gpus=1))
    it.clock.now += 3600
    it.scheduler.want("c", "x", Resources(cpus=2, memory=5))
    it.scheduler.want("c", "y", Resources(cpus=1, memory=5))
    assert it.new() == [("a", "long"), ("c", "x"), ("c", "y")]


def test_what_no_longer_fits_the_machine_blocks_nobody(machine):
    """After a start with less capacity a wish beyond it waits, says so, and lets the others by."""
    it = machine(2)
    it.scheduler.want("a", "huge", Resources(cpus=8))
    it.scheduler.want("b", "x", ONE)
    assert it.new() == [("b", "x")]
    assert it.scheduler.why("a", "huge") == (
        "it waits for more than there is: 8 cpus (1 of 2 free); see `jobd serve --capacity`"
    )


def test_each_gpu_is_lent_to_one_entry_at_a_time(machine):
    """Entries get the ids of gpus that no other entry holds, also after a restart of the daemon."""
    it = machine(8, gpus=3, gpu_ids=("GPU-a", "GPU-b", "GPU-c"))
    leases: dict[str, Lease] = {}
    it.scheduler.granted = lambda _job_id, key, lease: leases.update({str(key): lease})
    it.scheduler.hold_back()
    it.scheduler.restate("a", {"kept": Lease(Resources(gpus=1), ("GPU-b",))})
    it.scheduler.resume()
    it.scheduler.want("b", "two", Resources(gpus=2))
    it.scheduler.want("c", "one", Resources(gpus=1))
    it.scheduler.want("d", "none", ONE)
    assert leases["two"].gpus == ("GPU-a", "GPU-c")
    assert leases["none"].gpus == ()
    it.scheduler.release("a", "kept")
    assert leases["one"].gpus == ("GPU-b",)


def test_without_gpus_none_are_handed_out(machine):
    """Where the operator declared none, a module sees what it would see without the daemon."""
    it = machine(1)
    leases = []
    it.scheduler.granted = lambda _job_id, _key, lease: leases.append(lease.gpus)
    it.scheduler.want("a", "x", ONE)
    assert leases == [None]


def test_beyond_the_most_active_jobs_others_start_only_in_what_is_left(machine):
    """A queued job waits while those that run want more, and starts when they leave room."""
    it = machine(1, policy=Policy(most_active=1))
    it.scheduler.want("a", "x", ONE)
    it.scheduler.want_start("b", ONE)
    it.scheduler.want("a", "y", ONE)
    it.scheduler.release("a", "x")
    it.scheduler.release("a", "y")
    assert it.new() == [("a", "x"), ("a", "y"), ("b", None)]


def test_a_long_queue_is_served_in_order_and_told_right(machine):
    """Thousands of queued jobs start in the order in which they came, and each can say how many are before it."""
    it = machine(1, priorities=())
    names = [f"job{number}" for number in range(3000)]
    for number, name in enumerate(names):
        it.scheduler.know(name, priority=0, number=number)
        it.scheduler.want_start(name, ONE)
    assert it.scheduler.why("job2999", None) == "it waits for 1 cpus (0 of 1 free); 2998 others are before it"
    assert it.scheduler.waiting == 2999
    for name in names:
        assert it.new() == [(name, None)]
        it.scheduler.forget(name)


class RandomRun:
    """Random operations on a scheduler, beside a plain account of what it owes to whom."""

    CAPACITY = Capacity(cpus=4, memory=100, gpus=1, counters={"licences": 2})

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.scheduler = Scheduler(self.CAPACITY, gpu_ids=("0",))
        self.scheduler.granted = self.take
        self.known: list[str] = []
        self.held: dict[tuple[str, str | None], Resources] = {}
        self.wanted: dict[tuple[str, str | None], Resources] = {}
        self.grants = 0

    def take(self, job_id: str, key: str | None, _lease: Lease) -> None:
        assert (job_id, key) not in self.held
        self.held[job_id, key] = self.wanted.pop((job_id, key))
        self.grants += 1
        held, most = self.held.values(), self.CAPACITY
        assert sum(resources.cpus for resources in held) <= most.cpus
        assert sum(resources.memory for resources in held) <= most.memory
        assert sum(resources.gpus for resources in held) <= most.gpus
        assert sum(resources.counters.get("licences", 0) for resources in held) <= most.counters["licences"]

    def resources(self) -> Resources:
        return Resources(
            cpus=self.chance.choice([0.5, 1, 4]),
            memory=self.chance.choice([0, 50]),
            gpus=self.chance.choice([0, 0, 1]),
            counters=self.chance.choice([{}, {"licences": 1}]),
        )

    def start(self, job_id: str) -> None:
        if not any(job == job_id for job, _key in (*self.held, *self.wanted)):
            self.wanted[job_id, None] = resources = self.resources()
            self.scheduler.want_start(job_id, resources)

    def want(self, job_id: str) -> None:
        key = f"entry{self.chance.randrange(4)}"
        if (job_id, key) not in self.held and (job_id, None) not in self.wanted:
            self.held.pop((job_id, None), None)
            resources = self.wanted.setdefault((job_id, key), self.resources())
            self.scheduler.want(job_id, key, resources)

    def release(self, _job_id: str) -> None:
        leases = sorted((job_id, key) for job_id, key in self.held if key is not None)
        if leases:
            lease = self.chance.choice(leases)
            del self.held[lease]
            self.scheduler.release(*lease)

    def forget(self, job_id: str) -> None:
        self.known.remove(job_id)
        for table in (self.held, self.wanted):
            for place in [place for place in table if place[0] == job_id]:
                del table[place]
        self.scheduler.forget(job_id)

    def step(self, number: int) -> None:
        if len(self.known) < 3 or self.chance.random() < 0.05:
            self.known.append(f"job{number}")
            self.scheduler.know(self.known[-1], priority=self.chance.choice([0, 0, 1]), number=number)
        does = [self.start, self.want, self.release, self.forget]
        self.chance.choices(does, weights=[2, 4, 4, 1])[0](self.chance.choice(self.known))


@pytest.mark.parametrize("seed", range(4))
def test_no_random_run_grants_more_than_there_is(seed: int):
    """In 5,000 random operations no grant goes beyond the capacity, none is repeated, and at the end all is free."""
    run = RandomRun(seed)
    for number in range(5000):
        run.step(number)
        assert abs(run.scheduler.used().cpus - sum(resources.cpus for resources in run.held.values())) < 1e-6
    assert run.grants > 500
    for job_id in list(run.known):
        run.forget(job_id)
    assert run.scheduler.used() == Resources(cpus=0)
