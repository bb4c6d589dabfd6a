"""A bar for bytes on their way, on a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobctl.terminal import can_redraw, escape


@contextmanager
def show_bytes(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that takes the length of each piece; it draws on standard error when that is a terminal."""
    if not can_redraw(sys.stderr):
        yield lambda _count: None
        return
    # Loaded for those who look only: it takes as long as a small upload.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(label), total=total or None)
        yield lambda count: progress.advance(task, count)
