"""Prints what is no text, and reports in it."""

import os

os.write(1, bytes(range(256)) + b"\nopenjd_status: \xff\xfe\nopenjd_progress: \xe9\n\xc3")
