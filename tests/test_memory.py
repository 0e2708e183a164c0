"""Freed memory is kept: the system counts the pages that it had to clear for us."""

import platform
import subprocess
import sys

import pytest

from mbv2_lib import memory

FAULTS = """
import resource, sys
from mbv2_lib.memory import keep_freed_memory

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

kept = sys.argv[1] == "kept" and keep_freed_memory()
b"x" * (64 << 20)
before = pages()
for _ in range(10):
    b"x" * (64 << 20)  # 16,384 pages of 4 kB, written and freed
print(kept, pages() - before)
"""


def pages_cleared(how):
    told = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    ).stdout.split()
    return told[0] == "True", int(told[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_was_freed_is_not_cleared_again():
    kept, few = pages_cleared("kept")
    told, many = pages_cleared("returned")
    assert kept and few < 1_000
    assert not told and many > 100 * few + 1_000  # by itself glibc gives it back


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    assert memory.keep_freed_memory.__wrapped__() is False
