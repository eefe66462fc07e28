"""The memory that this process takes up."""

import os
from pathlib import Path


def resident_bytes() -> int:
    """All of it that is in RAM, with what it shares and has touched."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
