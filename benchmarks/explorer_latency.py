"""One slider move: from the new value to the new picture and words, without the browser."""

import random
import time

import numpy as np
from pairs import arguments, late, report, shown, spread, table

from mbv2_lib import explorers, shapes100

LIMIT = 60  # milliseconds: a picture that follows the hand


def all_explorers():
    """Name to a function that makes the explorer: all but the one of your own picture, which waits for two models."""
    pictures, labels = shapes100.draw(4)
    rng = np.random.default_rng(0)
    probabilities, kernel = rng.dirichlet(np.full(100, 0.05), len(labels)), rng.normal(size=(3, 3, 96))
    return {
        "block": explorers.block_explorer,
        "network": explorers.network_explorer,
        "relu": explorers.relu_explorer,
        "resize": lambda: explorers.resize_explorer(pictures[3]),
        "mistake": lambda: explorers.mistake_explorer(pictures, labels, probabilities, shapes100.CLASSES),
        "design": explorers.design_explorer,
        "quantization": lambda: explorers.quantization_explorer(kernel),
    }


def stops(control):
    """All values that a control can take."""
    if hasattr(control, "options"):
        return list(control.options)
    count = round((control.max - control.min) / control.step) + 1
    return [control.min + control.step * stop for stop in range(count)]


def moves(explorer, count, seed=2018):
    """Milliseconds of each of `count` random moves, of those that move something."""
    chance = random.Random(seed)
    milliseconds = []
    while len(milliseconds) < count:
        control = chance.choice(list(explorer.controls.values()))
        before, value = explorer.picture.value, chance.choice(stops(control))
        if value == control.value:
            continue
        start = time.perf_counter()
        control.value = value
        milliseconds.append(1000 * (time.perf_counter() - start))
        assert bytes(explorer.picture.value[:4]) == b"\x89PNG" and explorer.picture.value is not before
    return milliseconds


def main(argv=None):
    options = arguments(__doc__, argv)
    lines, slowest = [], 0
    for name, make in all_explorers().items():
        found = moves(make(), 5 if options.tiny else 100)
        middle = spread(found)
        slowest = max(slowest, middle["median"])
        lines.append([name, shown(middle), f"{late(found):.0f}", f"{LIMIT / middle['median']:.1f}"])
    head = ["explorer", "milliseconds a move", "95 of 100 within", f"{LIMIT} ms / median"]
    text = f"{table(head, lines)}\n\nThe slowest median is {slowest:.0f} ms; the aim is under {LIMIT} ms."
    return report(options, "explorer_latency", "One slider move", text=text)


if __name__ == "__main__":
    main()
