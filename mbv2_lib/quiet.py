"""Compiled libraries that log as they start, quietened: their lines would stand in every notebook."""

import contextlib
import os
import sys


@contextlib.contextmanager
def quiet():
    """Inside, what compiled code writes to standard error is dropped; a Python exception is still raised and shown."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
