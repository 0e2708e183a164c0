"""How the rate of training grows with batch, resolution and width, drawn against the bound of bytes and operations."""

import numpy as np
from bounds import measure_machine, step_bound
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from pairs import alternate, arguments, figure, report, shown, spread, table

from mbv2_lib import plots
from mbv2_lib.backend import keras
from mbv2_lib.network import mobilenet_v2


def step(batch, resolution, alpha):
    """A function that takes one training step on random pictures."""
    network = mobilenet_v2((resolution, resolution, 3), 100, alpha)
    network.compile(keras.optimizers.SGD(1e-3, 0.9), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (batch, resolution, resolution, 3)).astype("float32")
    pictures, labels = (keras.ops.convert_to_tensor(value) for value in (pictures, rng.integers(0, 100, batch)))
    return lambda: float(network.train_on_batch(pictures, labels))


def sweep(settings, pairs):
    """Images a second for each (batch, resolution, alpha): a list of `spread`s. All are timed by turns."""
    seconds = alternate({setting: step(*setting) for setting in settings}, pairs)
    return [spread([setting[0] / time for time in seconds[setting]]) for setting in settings]


def drawn(sweeps):
    """Measured rates, and the bound, over what was varied: a panel each."""
    page = Figure(figsize=(11, 3.6), layout="constrained")
    (panels,) = page.subplots(1, len(sweeps), squeeze=False)
    for axes, (name, values, rates, bounds) in zip(panels, sweeps, strict=True):
        middle = [rate["median"] for rate in rates]
        reach = [[rate["median"] - rate["low"] for rate in rates], [rate["high"] - rate["median"] for rate in rates]]
        axes.plot(values, bounds, color=plots.ORANGE, marker="o", ms=3, label="bound")
        axes.errorbar(values, middle, reach, color=plots.BLUE, marker="o", ms=3, capsize=2, label="measured")
        axes.set(xlabel=name, xscale="log", yscale="log")
        axes.set_xticks(values, [str(value) for value in values], fontsize=8, rotation=45)
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("images a second")
    panels[-1].legend(frameon=False)
    return page


def main(argv=None):
    options = arguments(__doc__, argv)
    if options.tiny:
        machine, pairs = measure_machine(256, (0.5, 2)), 1
        sweeps = {"batch": [(2, 32, 0.35)]}
    else:
        machine, pairs = measure_machine(), 5
        sweeps = {
            "batch": [(batch, 224, 1.0) for batch in (8, 16, 32, 64, 128)],
            "resolution": [(32, size, 1.0) for size in (32, 64, 96, 128, 160, 192, 224, 288)],
            "width": [(16, 224, alpha) for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)],
        }
    found, lines = [], []
    for place, (name, settings) in enumerate(sweeps.items()):
        rates = sweep(settings, pairs)
        bounds = [batch / sum(step_bound(machine, alpha, size, batch).values()) for batch, size, alpha in settings]
        found.append((name, [setting[place] for setting in settings], rates, bounds))
        for setting, rate, bound in zip(settings, rates, bounds, strict=True):
            lines.append([*setting, shown(rate), figure(bound), f"{rate['median'] / bound:.0%}"])
        keras.backend.clear_session()  # the networks of one sweep are held at once, those of all need not be
    plots.save(drawn(found), options.out / "scaling.png")
    copies = ", ".join(f"{rate / 1e9:.0f} at {size / 1e6:g} MB" for size, rate in zip(*machine[1:], strict=True))
    text = (
        "Training, float32. Not to be compared with the first table, where there is no dropout and one network in "
        f"memory at a time. The machine: {machine.flops / 1e9:.0f} GFLOP/s in a product of matrices; bytes moved in "
        f"copies by all cores, GB/s: {copies}. The bound is what the step takes if each layer is done at these rates "
        "with one operation a layer.\n\n"
        + table(["batch", "resolution", "width", "images/s", "bound", "share of the bound"], lines)
    )
    return report(options, "scaling", "How the rate grows", text=text, pictures=["scaling.png"])


if __name__ == "__main__":
    main()
