"""Ends well while three of its children run on."""

import subprocess

for _ in range(3):
    print("left", subprocess.Popen(["sleep", "1000"]).pid)
