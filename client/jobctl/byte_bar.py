"""A bar for bytes on their way, on a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from jobctl.terminal import can_redraw, escape


@contextmanager
def show_bytes(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that takes the length of each piece; it draws on standard error when that is a terminal."""
    if not can_redraw(sys.stderr):
        yield lambda _count: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(label), total=total or None)
        yield lambda count: progress.advance(task, count)
