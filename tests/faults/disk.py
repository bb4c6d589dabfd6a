"""A small disk in memory below a state directory, which can be filled and made read-only."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

SIZE_MIB = 48


class Disk:
    """A file system of its own, mounted on a folder from `mount` to `unmount`."""

    def __init__(self, folder: Path) -> None:
        """Prepare; nothing is mounted yet."""
        self._folder = folder
        self._filler = folder / "filler"
        self._lock = threading.RLock()

    @staticmethod
    def may_mount() -> bool:
        """Tell whether this user can have one at all."""
        return os.geteuid() == 0

    def mount(self) -> None:
        """Mount it; OSError says why it cannot be."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._call("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=0700", "tmpfs", str(self._folder))

    def unmount(self) -> None:
        """Unmount it, also when a process still looks at it."""
        self._call("umount", "--lazy", str(self._folder))

    def fill(self) -> None:
        """Take every byte there is until `free`."""
        for piece in (1 << 16, 512):
            with self._lock, contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
                self._filler.chmod(0o600)
                while file.write(bytes(piece)):
                    pass

    def free(self) -> None:
        """Give everything back."""
        with self._lock:
            self._filler.unlink(missing_ok=True)

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Have it read-only within the block; OSError while anything of it is open for writing."""
        with self._lock:
            self._call("mount", "-o", "remount,ro", str(self._folder))
            try:
                yield
            finally:
                self._call("mount", "-o", "remount,rw", str(self._folder))

    @staticmethod
    def _call(*words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
