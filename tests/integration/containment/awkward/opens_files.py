"""Opens ten thousand files at once."""

import os

held = [os.open("/dev/null", os.O_RDONLY) for _ in range(10_000)]
