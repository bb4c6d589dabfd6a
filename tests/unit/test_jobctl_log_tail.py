"""The last lines of logs that come in pieces."""

import pytest
from jobapi.v1 import job_service_pb2
from jobctl.log_stream import LogStream
from jobctl.talk import Ask, Conversation, Open, Read

LOG = b"one\ntwo\n\nfour\nfive"


def cut(data, size, entry="e", start=0):
    """Give a log in pieces of a size, from a byte on."""
    return [
        job_service_pb2.LogsResponse(step="s", entry=entry, attempt=1, offset=place, data=data[place : place + size])
        for place in range(start, len(data), size)
    ]


def play(stream, open_stream):
    """Give everything that a stream yields, with what `open_stream` has for each of its requests."""
    found, pieces = [], iter(())
    while True:
        conversation = Conversation(stream.next())
        while conversation.wish is not None:
            match conversation.wish:
                case Ask():
                    conversation.answer(None)
                case Open(request=request):
                    pieces = iter(open_stream(request))
                    conversation.answer(None)
                case Read():
                    conversation.answer(next(pieces, None))
        if conversation.result is None:
            return found
        found.append(conversation.result)


def keep_last(pieces, count):
    """Give the last lines of logs that are all there."""
    stream = LogStream(request=job_service_pb2.LogsRequest(id="j"), tail=count)
    return play(stream, lambda _request: pieces)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("count", range(8))
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_last_lines_are_kept(size, count, end):
    """However the log is cut, these are its last lines; one without its end is a line, and so is an empty one."""
    log = LOG + end
    lines = log.splitlines(keepends=True)
    expected = b"".join(lines[max(0, len(lines) - count) :]) if count else b""
    found = keep_last(cut(log, size), count)

    assert expected == b"".join(piece.data for piece in found)
    assert all(log[piece.offset : piece.offset + len(piece.data)] == piece.data for piece in found)


def test_the_last_lines_of_several_logs_come_as_they_were_written():
    """Each log has its own last lines, and they stay interleaved as the daemon gave them."""
    pieces = [
        job_service_pb2.LogsResponse(step="s", entry=entry, attempt=1, offset=offset, data=data)
        for entry, offset, data in [
            ("a", 0, b"a1\na2\n"),
            ("b", 0, b"b1\n"),
            ("a", 6, b"a3\n"),
            ("b", 3, b"b2\nb3\n"),
            ("b", 9, b"b4\n"),
            ("a", 9, b"a4"),
        ]
    ]
    found = [(piece.entry, piece.offset, piece.data) for piece in keep_last(pieces, 3)]
    assert found == [("a", 3, b"a2\n"), ("a", 6, b"a3\n"), ("b", 3, b"b2\nb3\nb4\n"), ("a", 9, b"a4")]


def test_what_a_log_has_left_out_moves_no_offset():
    """Of a long log the middle may be missing; the lines around it keep their places."""
    pieces = [
        job_service_pb2.LogsResponse(step="s", entry="a", attempt=1, offset=offset, data=data)
        for offset, data in [(0, b"one\ntwo\n"), (1000, b"three\nfour\n")]
    ]
    found = [(piece.offset, piece.data) for piece in keep_last(pieces, 3)]
    assert found == [(4, b"two\n"), (1000, b"three\nfour\n")]


def test_a_long_log_is_cut_as_it_comes():
    """Many lines beyond what is kept do not pile up, and the last ones are right."""
    log = b"".join(b"%07d\n" % number for number in range(600_000))

    [piece] = keep_last(cut(log, 64 * 1024), 2)
    assert piece.data == b"0599998\n0599999\n"


def test_following_goes_on_where_the_tail_ended():
    """After the last lines comes what is written later, each byte once."""
    asked = []
    later = LOG + b" and more\nsix\n"

    def open_stream(request):
        asked.append(request.follow)
        yield from cut(later if request.follow else LOG, 4)

    request = job_service_pb2.LogsRequest(id="j", step="s", entry="e", follow=True)
    stream = LogStream(request=request, tail=2)

    assert b"".join(piece.data for piece in play(stream, open_stream)) == b"four\nfive and more\nsix\n"
    assert asked == [False, True]
