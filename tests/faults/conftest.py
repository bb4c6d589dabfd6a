"""Lets the tests here use the files beside them, and leaves the long ones to `make test-faults`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore = [] if os.environ.get("FAULTS") else ["test_crash_points.py"]
