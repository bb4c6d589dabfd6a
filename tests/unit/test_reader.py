"""Reading a stream in a thread of its own."""

import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from jobctl.reader import Reader


class FakeCall:
    """A stream of numbers that notes who reads it, and blocks where there is none left."""

    def __init__(self, numbers):
        """Hold what to give before blocking."""
        self.numbers = numbers
        self.readers = set()
        self.cancelled = threading.Event()

    def __iter__(self):
        """Give the numbers, then wait to be cancelled."""
        for number in self.numbers:
            self.readers.add(threading.get_ident())
            yield number
        assert self.cancelled.wait(30)
        raise ConnectionError("cancelled")

    def cancel(self):
        """End the wait."""
        self.cancelled.set()
        return True


def test_messages_come_in_order_and_never_from_the_main_thread():
    """The thread that Ctrl-C interrupts does not wait within gRPC."""
    call = FakeCall([1, 2, 3])
    with Reader(call) as reader:
        messages = reader.read()
        assert [next(messages) for _ in range(3)] == [1, 2, 3]

    assert threading.get_ident() not in call.readers
    assert call.cancelled.is_set()


def test_a_message_that_takes_too_long_ends_the_stream_with_its_own_error():
    """The stream is cancelled, the error it then raises arrives, and the reader knows why."""
    call = FakeCall([1])
    with Reader(call) as reader:
        messages = reader.read(lambda: 0.01)
        assert next(messages) == 1
        with pytest.raises(ConnectionError):
            next(messages)

    assert reader.expired


def test_a_reader_that_takes_its_time_loses_nothing():
    """Only the wait for a message counts, not what is done with it."""
    with Reader(FakeCall([1, 2])) as reader:
        messages = reader.read(lambda: 5.0)
        first = next(messages)
        due = time.monotonic() + 0.05
        while time.monotonic() < due:
            pass
        assert (first, next(messages)) == (1, 2)

    assert not reader.expired


def test_the_end_of_the_stream_is_the_end_of_the_reading():
    """A stream that ends gives no error."""
    call = FakeCall([1, 2])
    call.cancelled.set()
    call.__class__ = type("Ending", (FakeCall,), {"__iter__": lambda self: iter(self.numbers)})
    with Reader(call) as reader:
        assert list(reader.read()) == [1, 2]


@pytest.mark.timeout(30)
def test_a_signal_that_does_not_break_the_wait_is_handled_all_the_same():
    """Another thread takes it here; one that comes just before the wait begins is the same to Python."""

    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    def send_to_itself(waiting):
        looks = 0
        while looks < 10:  # each lets go of the interpreter, so that the main thread gets to where it waits
            Path("/proc/self/stat").read_bytes()
            looks = looks + 1 if sys._current_frames()[waiting].f_code.co_name == "_take" else 0
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    other = threading.Thread(target=send_to_itself, args=(threading.get_ident(),))
    try:
        with Reader(FakeCall([])) as reader:
            other.start()
            with pytest.raises(KeyboardInterrupt):
                next(reader.read())
    finally:
        signal.signal(signal.SIGUSR1, before)
        other.join()

    assert not reader.expired
