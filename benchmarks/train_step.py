"""A training step on a CPU: ours, that of `keras.applications.MobileNetV2`, and PyTorch's in eager mode.

All three start from the same weights, and take the same steps: the losses are compared before anything is timed.
"""

import functools

import numpy as np
from pairs import alternate, arguments, compare, report

from mbv2_lib.backend import keras
from mbv2_lib.memory import keep_freed_memory
from mbv2_lib.network import copy_weights, mobilenet_v2

RATE, MOMENTUM = 1e-5, 0.9  # so small that rounding, which random weights magnify, does not show in a loss


def keras_networks(size, classes, alpha):
    """Our network and the stock one, of the same weights, compiled alike. Ours rescales its pictures by itself."""
    ours = mobilenet_v2((size, size, 3), classes, alpha, dropout=0.0)  # the stock one has no dropout
    stock = keras.applications.MobileNetV2(input_shape=(size, size, 3), alpha=alpha, classes=classes, weights=None)
    copy_weights(ours, stock)
    for network in (ours, stock):
        network.compile(keras.optimizers.SGD(RATE, MOMENTUM), "sparse_categorical_crossentropy")
    return ours, stock


@functools.cache
def steps(size, batch, classes, alpha):
    """Functions that each take one training step on the same pictures and return its loss, by name."""
    rng = np.random.default_rng(0)
    pictures = rng.uniform(0, 255, (batch, size, size, 3)).astype("float32")
    labels = rng.integers(0, classes, batch)
    ours, stock = keras_networks(size, classes, alpha)
    scaled = pictures / 127.5 - 1
    given, rescaled, targets = (keras.ops.convert_to_tensor(value) for value in (pictures, scaled, labels))
    found = {
        "ours": lambda: float(ours.train_on_batch(given, targets)),
        "stock": lambda: float(stock.train_on_batch(rescaled, targets)),
    }
    try:
        import torch_network
    except ModuleNotFoundError:
        return found
    return found | {"torch": torch_network.step(ours, scaled, labels, alpha, RATE, MOMENTUM)}


def expect_same_steps(losses):
    """Raise AssertionError where the losses before and after the first step, by name, differ by more than rounding."""
    before, after = losses["ours"]
    for name, (one, two) in losses.items():
        np.testing.assert_allclose(one, before, rtol=1e-3, err_msg=f"{name} is another network")
        np.testing.assert_allclose(two - one, after - before, rtol=0.25, err_msg=f"{name} takes another step")


def main(argv=None):
    options = arguments(__doc__, argv)
    size, batch, classes, alpha = (96, 8, 10, 0.35) if options.tiny else (224, 16, 100, 1.0)
    pairs, repeats = (1, 1) if options.tiny else (7, 3)
    works = steps(size, batch, classes, alpha)

    losses = {name: [work(), work()] for name, work in works.items()}
    expect_same_steps(losses)

    def by_turns(*names):
        return alternate({name: lambda work=works[name]: [work() for _ in range(repeats)] for name in names}, pairs)

    def row(rival, name, seconds, at_least=None):
        what = f"training step, against {rival}"
        return compare(what, seconds["ours"], seconds[name], repeats * batch, at_least=at_least)

    seconds = by_turns(*works)
    rows = [row("`keras.applications.MobileNetV2`", "stock", seconds, 1.7)]
    if "torch" in works:
        rows.append(row("PyTorch eager, channels last", "torch", seconds, 1.4))
        if keep_freed_memory():
            rows.append(row("PyTorch, where glibc is told to keep freed memory", "torch", by_turns("ours", "torch")))
    found = "; ".join(f"{name} {one:.4f} then {two:.4f}" for name, (one, two) in losses.items())
    text = f"{size} px, batch {batch}, width {alpha}, float32. Losses of the first two steps: {found}."
    if "torch" not in works:
        text += " PyTorch is not installed (`pip install -e '.[torch]'`): left out."
    return report(options, "train_step", "Training step", rows, text)


if __name__ == "__main__":
    main()
