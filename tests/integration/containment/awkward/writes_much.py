"""Writes a file of 4 MiB."""

from pathlib import Path

Path("much").write_bytes(bytes(4 << 20))
