"""Prints 200 MB without a newline."""

import os

piece = b"x" * 1_000_000
for _ in range(200):
    os.write(1, piece)
