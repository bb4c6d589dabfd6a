"""Many jobs at once."""

from datetime import datetime

COUNT = 20


def test_twenty_jobs_at_once_all_succeed_within_the_capacity(daemon, jobs):
    """No more entries run at once than there are cpus, by the times that the events tell."""
    files = [jobs.write([jobs.act("a", name="l"), jobs.act("b", name="r")], name=f"j{n}") for n in range(COUNT)]
    ids = [daemon.submit(file) for file in files]
    watches = [daemon.watch(job_id) for job_id in ids]
    assert [watch.end() for watch in watches] == [0] * COUNT
    moments: list[tuple[str, int]] = []
    for watch in watches:
        for event in watch.seen:
            if event["type"] in {"entry_started", "entry_succeeded"}:
                datetime.fromisoformat(event["time"])
                moments.append((event["time"], 1 if event["type"] == "entry_started" else -1))
    assert len(moments) == 4 * COUNT
    running = most = 0
    for _time, change in sorted(moments):
        running += change
        most = max(most, running)
    assert (most, running) == (2, 0)


def test_priority_goes_before_age(daemon, jobs, tmp_path):
    """Of two jobs that wait, the one with the higher priority starts first."""
    gate, ledger = tmp_path / "gate", tmp_path / "ledger"
    whole = {"resources": {"cpus": 2}}
    busy = daemon.submit(jobs.write([jobs.act("x", gate=gate, **whole)]))
    daemon.watch(busy).until("entry_started")
    low = daemon.submit(jobs.write([jobs.act("x", ledger=ledger, name="low", **whole)]))
    high = daemon.submit(jobs.write([jobs.act("x", ledger=ledger, name="high", **whole)]), "--priority", 5)
    gate.touch()
    for job_id in (low, high):
        assert daemon.jobctl("watch", job_id).code == 0
    assert [line.split()[0] for line in ledger.read_text().splitlines()] == ["high", "low"]
