"""What a client wants of the world, one wish after another, so that one description of a call serves two clients.

A `Talk` is a generator: it yields a wish, is sent what became of it, or has the error raised where it stands, and
returns its result. It does no I/O and knows nothing of threads or of asyncio. `Connection` fulfils wishes by blocking,
`AioConnection` by awaiting.
"""

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.message import Message

from jobctl.services import Services

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
CALL_SECONDS = 10.0


class SilenceError(Exception):
    """The next message of a stream took too long; the stream is closed."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question; the answer is the daemon's."""

    choose: Callable[[Services], object]
    """Finds the method."""
    request: Message
    """The question."""
    seconds: float
    """The most that it may take."""


@dataclass(frozen=True, slots=True)
class Open:
    """A stream of messages, in the place of the one that was open before; a talk has one at a time."""

    choose: Callable[[Services], object]
    """Finds the method."""
    request: Message
    """What is asked for."""
    patient: bool
    """Whether a daemon that does not listen yet is waited for."""


@dataclass(frozen=True, slots=True)
class Read:
    """The next message of the open stream; the answer is None at its end."""

    seconds: float
    """The most that it may take; `SilenceError` after that."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Some time in which nothing is done."""

    seconds: float
    """How long."""


@dataclass(frozen=True, slots=True)
class Work:
    """Something that may block on this machine's disk; the answer is what it returns."""

    function: Callable[[], object]
    """Does it."""


@dataclass(frozen=True, slots=True)
class Send:
    """A stream of messages to the daemon, broken off when one cannot be made; the answer is the daemon's."""

    choose: Callable[[Services], object]
    """Finds the method."""
    make_requests: Callable[[], Iterator[Message]]
    """Makes the messages; making one may block."""


Wish: TypeAlias = Ask | Open | Read | Pause | Work | Send
Talk: TypeAlias = Generator[Wish, object, _T]


class Source(Protocol[_T_co]):
    """Something that comes piece by piece."""

    def next(self) -> Talk[_T_co | None]:
        """Fetch the next piece; None when there is no more."""


class Conversation(Generic[_T]):
    """A talk under way."""

    def __init__(self, talk: Talk[_T]) -> None:
        """Hear the first wish."""
        self._talk = talk
        self._result: list[_T] = []
        self.wish: Wish | None = None
        """What the talk wants now; None when it has ended."""
        self._go_on(lambda: next(talk))

    @property
    def result(self) -> _T:
        """What the talk has returned; it must have ended."""
        return self._result[0]

    def answer(self, answer: object) -> None:
        """Tell what became of the wish."""
        self._go_on(lambda: self._talk.send(answer))

    def fail(self, error: Exception) -> None:
        """Raise, where the talk stands, what went wrong with the wish."""
        self._go_on(lambda: self._talk.throw(error))

    def close(self) -> None:
        """End the talk where it stands; it removes what it left on the disk."""
        self._talk.close()

    def _go_on(self, step: Callable[[], Wish]) -> None:
        try:
            self.wish = step()
        except StopIteration as end:
            self.wish = None
            self._result.append(end.value)


def ask(
    choose: "Callable[[Services], grpc.UnaryUnaryMultiCallable[_Request, _Response]]",
    request: _Request,
    *,
    seconds: float = CALL_SECONDS,
) -> Talk[_Response]:
    """Make one call, which may take `seconds`."""
    return cast("_Response", (yield Ask(choose, request, seconds)))


def open_stream(
    choose: "Callable[[Services], grpc.UnaryStreamMultiCallable[_Request, _Response]]",
    request: _Request,
    kind: type[_Response],  # noqa: ARG001 - says to a reader, and to the type checker, what `read` will give
    *,
    patient: bool = False,
) -> Talk[None]:
    """Open a stream of messages of this kind."""
    yield Open(choose, request, patient)


def read(kind: type[_Response], seconds: float = math.inf) -> Talk[_Response | None]:  # noqa: ARG001 - as above
    """Read the next message of the open stream; None at its end, `SilenceError` when it takes longer than `seconds`."""
    return cast("_Response | None", (yield Read(seconds)))


def pause(seconds: float) -> Talk[None]:
    """Do nothing for a while."""
    yield Pause(seconds)


def work(function: Callable[[], _T]) -> Talk[_T]:
    """Do something that may block."""
    return cast("_T", (yield Work(function)))


def send(
    choose: "Callable[[Services], grpc.StreamUnaryMultiCallable[_Request, _Response]]",
    make_requests: Callable[[], Iterator[_Request]],
) -> Talk[_Response]:
    """Send a stream of messages and get the daemon's answer."""
    return cast("_Response", (yield Send(choose, make_requests)))
