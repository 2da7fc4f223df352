"""How far the memory of a process rises, measured in a process of its own."""

import subprocess
import sys

# ru_maxrss would begin with the peak of the process that started this one, and so never rise under a large one.
PEAK = """
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))
"""


def printed(script: str) -> float:
    """The number of MiB that ``script`` prints, which may call ``peak()``."""
    command = [sys.executable, "-c", PEAK + script]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=500).stdout)
