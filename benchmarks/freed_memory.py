"""A training step where the C library keeps freed memory, as `training.build_network` tells it, and where it does not.

What was told once can not be taken back: each measurement is a new process, by turns.
"""

import subprocess
import sys
import time

from memory import peak_megabytes
from pairs import arguments, compare, report, shown, spread, table
from run import machine

from mbv2_lib import memory

SETTINGS = ((224, 16, 1.0), (128, 32, 1.0), (64, 128, 0.5))  # pixels, batch, width


def step_and_tell(kept, size, batch, alpha, steps):
    """Train for some steps as `training.train` does; print the seconds of one, and the peak resident megabytes."""
    if not kept:  # before anything has asked for it
        memory.keep_freed_memory = lambda: False
    import numpy as np

    from mbv2_lib import pipeline, training
    from mbv2_lib.config import TrainConfig
    from mbv2_lib.recipes import RECIPES

    config = TrainConfig(classes=100, size=size, batch=batch, alpha=alpha, recipe="short")
    rng, count = np.random.default_rng(0), batch * 4
    split = pipeline.Split(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 100, count))
    plan = pipeline.Plan(split.labels, 100, batch, size, RECIPES["short"].augmentation)
    learner = training.build_learner(config, steps)
    learner.run_eagerly = steps == 1  # in tiny mode: one step is not worth the tracing of a network
    batches = pipeline.training_batches(split, plan)
    first = 1 if steps == 1 else 3
    for step in range(first + steps):
        if step == first:  # those before trace the network and fetch the memory
            start = time.perf_counter()
        learner.train_on_batch(*next(batches))
    seconds = (time.perf_counter() - start) / steps
    print(seconds, peak_megabytes())


def measured(kept, *setting):
    """The seconds of a step and the peak megabytes of a new process."""
    command = [sys.executable, __file__, "--step", str(int(kept)), *map(str, setting)]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[-2000:]
    return [float(word) for word in told.stdout.split()[-2:]]


def main(argv=None):
    options = arguments(__doc__, argv)
    settings, pairs, steps = (((32, 4, 0.35),), 1, 1) if options.tiny else (SETTINGS, 3, 8)
    rows, peaks = [], []
    for size, batch, alpha in settings:
        found = {True: [], False: []}
        for _ in range(pairs):
            for kept, results in found.items():
                results.append(measured(kept, size, batch, alpha, steps))
        (mine, my_peaks), (others, their_peaks) = (zip(*results, strict=True) for results in found.values())
        what = f"training step, {size} px, batch {batch}, width {alpha}: freed memory kept, against returned"
        rows.append(compare(what, mine, others, batch))
        peaks.append(
            [f"{size} px, batch {batch}, width {alpha}", *(shown(spread(of)) for of in (my_peaks, their_peaks))]
        )
    text = f"{table(['training', 'kept, peak MB', 'returned, peak MB'], peaks)}\n\nMeasured on: {machine()}."
    return report(options, "freed_memory", "Freed memory kept", rows, text)


if __name__ == "__main__":
    if "--step" in sys.argv:
        kept, size, batch, alpha, steps = sys.argv[2:]
        step_and_tell(bool(int(kept)), int(size), int(batch), float(alpha), int(steps))
    else:
        main()
