"""Work on many pictures in several threads, under a progress bar."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
from tqdm import tqdm

from mbv2_lib.memory import keep_freed_memory


def in_threads(work, batches, title, workers=None, progress=True):
    """Yield work(batch) for each list in `batches`, in order, several at once, under a progress bar.

    Stops soon where one fails: batches that have not begun are dropped, and the error is raised.
    """
    settle_for_threads()
    pool = ThreadPoolExecutor(workers or os.cpu_count())
    try:
        with progress_bar(sum(map(len, batches)), title, progress) as bar:
            for batch, result in zip(batches, pool.map(work, batches), strict=True):
                bar.update(len(batch))
                yield result
    finally:
        pool.shutdown(cancel_futures=True)


def settle_for_threads():
    """Set this process up for threads that decode one picture after the other.

    OpenCV then works in the calling thread alone, since there are enough of them. And the C library keeps the memory
    of a picture for the next one.
    """
    cv2.setNumThreads(1)
    keep_freed_memory()


def progress_bar(total, title, show=True, unit=" images", **settings):
    """A tqdm bar with the rate and the time left; plain lines, one in ten seconds, where there is no terminal.

    settings: further ones of tqdm, such as `initial` or `unit_scale`.
    """
    if not sys.stderr.isatty():
        plain = "{desc}: {n_fmt} of {total_fmt}" + unit + ", {rate_fmt}, {remaining} left"
        settings |= {"bar_format": plain, "mininterval": 10, "file": PlainLines()}
    return tqdm(total=total, desc=title, unit=unit, disable=not show, **settings)


class PlainLines:
    """Takes the terminal's place for tqdm: each state of the bar becomes a line of its own."""

    def write(self, text):
        if text.strip():
            print(text.strip(), file=sys.stderr)

    def flush(self):
        sys.stderr.flush()
