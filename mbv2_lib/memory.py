"""Memory that is given back and asked for again: kept by the process, in place of being cleared page by page."""

import ctypes
import functools
import platform

# Of glibc's malloc.h, with what they are set to: nothing is mapped apart, nothing goes back, and more is fetched in
# pieces of 64 MB.
SETTINGS = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 64 << 20)}


@functools.cache
def keep_freed_memory():
    """Tell the C library, for the rest of this process, to keep what is freed; returns whether it is one that can.

    A training step frees its tensors and the next asks for as many bytes again; so do pictures, read one after the
    other. By itself, glibc returns the large ones to the system, which then clears each page anew. How much of a step
    that takes depends on the machine, see benchmarks/results.md. The price: the process stays as large as it ever was.
    Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(*setting) for setting in SETTINGS.values())
