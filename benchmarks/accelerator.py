"""Training on an accelerator, with and without each lever; on JAX, the depthwise convolution computed in two ways.

    KERAS_BACKEND=jax python benchmarks/accelerator.py

The levers: bfloat16; XLA (JAX always compiles; on TensorFlow it lacks the warp of the augmentation); several steps an
execution; pictures that travel with 32 px and grow in the step; and, as a price to know, the augmentation. Shapes are
static everywhere. Where there is no accelerator, the rates of shipped and earlier runs are read from their histories.
"""

import time
from statistics import median

import numpy as np
from pairs import BENCHMARKS, arguments, figure, report, table

from mbv2_lib import cifar100, pipeline, runs, training
from mbv2_lib.architecture import mobilenet_v2_architecture
from mbv2_lib.augmentation import Augmentation
from mbv2_lib.backend import keras
from mbv2_lib.config import TrainConfig
from mbv2_lib.costs import network_cost
from mbv2_lib.recipes import RECIPES

RUNS = BENCHMARKS.parent / "data" / "reference_runs"
ops = keras.ops
JAX = keras.config.backend() == "jax"
ALL_ON = {"precision": "bfloat16", "xla": JAX, "together": 8, "small": True, "augmented": True}
LEVERS = {
    "all of them": {},
    "float32": {"precision": "float32"},
    "one step an execution": {"together": 1},
    "224 px bytes in": {"small": False},
    "no augmentation": {"augmented": False},
} | ({} if JAX else {"no augmentation, but XLA": {"augmented": False, "xla": True}})


def images_a_second(batch, size, alpha, executions, precision, xla, together, small, augmented):
    """The rate of `Learner.fit` on random pictures: the median of three epochs after one that compiles."""
    rng = np.random.default_rng(0)
    side = 32 if small else size
    steps = executions * together
    # A step's pictures are drawn from two batches again and again: their number changes nothing but the host's memory.
    split = pipeline.Split(rng.integers(0, 256, (2 * batch, side, side, 3), "uint8"), rng.integers(0, 100, 2 * batch))
    augmentation = RECIPES["short"].augmentation if augmented else Augmentation()
    plan = pipeline.Plan(split.labels, 100, batch, size, augmentation)
    config = TrainConfig(classes=100, size=size, batch=batch, alpha=alpha, precision=precision)
    learner = training.Learner(training.build_network(config), size)
    learner.compile(
        keras.optimizers.SGD(0.01, 0.9), "categorical_crossentropy", jit_compile=xla, steps_per_execution=together
    )
    batches, rates = pipeline.training_batches(split, plan), []
    for _ in range(4):
        start = time.perf_counter()
        learner.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)
        rates.append(steps * batch / (time.perf_counter() - start))
    keras.backend.clear_session()
    return median(rates[1:])


def lever_table(batches, size, alpha, executions, together, peak, most=None):
    """Rows of text: each lever taken away, for each batch; a combination that fails says with what."""
    rows = []
    for name, change in list(LEVERS.items())[:most]:
        settings = ALL_ON | {"together": together} | change
        cells = []
        for batch in batches:
            try:
                rate = images_a_second(batch, size, alpha, executions, **settings)
            except Exception as error:  # out of memory, say: a result, too
                cells.append(f"failed: {type(error).__name__}")
                continue
            # A step computes the forward pass three times over, and a multiply-add is two operations.
            share = 6 * network_cost(alpha, resolution=size, classes=100).madds * rate / peak[settings["precision"]]
            cells.append(f"{figure(rate)} ({share:.2%})")
            print(f"{name}, batch {batch}: {cells[-1]}", flush=True)
        rows.append([name, *cells])
    return rows


def measured_peak(side, precision):
    """Operations a second of a product of two square matrices: what the device gives at best."""
    matrix = ops.cast(np.random.default_rng(0).normal(size=(side, side)), precision)
    return 2 * side**3 / seconds_a_call(compiled(ops.matmul), matrix, matrix)


def device_name():
    """What the backend calls its first device, such as NVIDIA H100 80GB HBM3."""
    if JAX:
        import jax

        return jax.devices()[0].device_kind
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(cards[0]).get("device_name", "GPU") if cards else "CPU"


# -- the depthwise convolution -----------------------------------------------------------------------------------------


def library_convolution(x, kernel, strides):
    """The backend's own depthwise convolution: x (n, h, w, c), kernel (3, 3, c, 1)."""
    return ops.depthwise_conv(x, kernel, strides, padding="same")


def compiled(function):
    """The function compiled by XLA, on either backend."""
    if JAX:
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


def gradients(function):
    """A function of (x, kernel, y) that gives the gradients of sum(function(x, kernel) * y) by x and kernel, on JAX."""
    import jax

    return jax.grad(lambda x, kernel, y: (function(x, kernel) * y).sum(), argnums=(0, 1))


def seconds_a_call(function, *given, calls=10, rounds=5):
    """Seconds of one call: the median of some rounds, after a first that compiles."""
    found = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(calls):
            result = function(*given)
        last = keras.tree.flatten(result)[-1]
        np.asarray(ops.cast(ops.ravel(last)[0], "float32"))  # waits for the device
        found.append((time.perf_counter() - start) / calls)
    return median(found[1:])


def depthwise_table(batch, size, precision, most=None):
    """Rows of text: milliseconds of each depthwise convolution of the network on JAX, in both ways."""
    from mbv2_lib.one_pass import depthwise_convolution

    shapes, side = [], -(-size // 2)
    for block in mobilenet_v2_architecture()[1]:
        shapes.append((side, block.expanded, block.strides))
        side = -(-side // block.strides)
    rows, rng = [], np.random.default_rng(0)
    for side, channels, strides in list(dict.fromkeys(shapes))[:most]:
        out = -(-side // strides)
        x, kernel, y = (
            ops.cast(rng.normal(size=shape), precision)
            for shape in ((batch, side, side, channels), (3, 3, channels, 1), (batch, out, out, channels))
        )
        cells = []
        for lowering in (library_convolution, depthwise_convolution):
            forward = lambda x, kernel, lowering=lowering, strides=strides: lowering(x, kernel, strides)  # noqa: E731
            cells.append(1000 * seconds_a_call(compiled(forward), x, kernel))
            cells.append(1000 * seconds_a_call(compiled(gradients(forward)), x, kernel, y))
        rows.append([f"{side} x {side} x {channels}", strides, *map(figure, cells), f"{cells[1] / cells[3]:.2f}"])
    return rows


# -- the shipped runs --------------------------------------------------------------------------------------------------


def shipped_text():
    """The rates of the shipped and earlier runs that were trained on an accelerator, as Markdown."""
    head = ["folder of the run", "device", "computed in", "batch", "px", "held out", "training pictures a second"]
    return (
        "This machine has no accelerator. These rates are from the histories of shipped and earlier runs, whose model "
        "card names the device: training pictures over the seconds of the median epoch, without the first, which "
        "compiles. An epoch includes a look at the pictures held out. The rows differ in that, and in card, recipe "
        f"and code, so their ratio is not that of the number types.\n\n{table(head, shipped_rows())}"
    )


def shipped_rows(shipped=RUNS):
    """Rows of text, one for each run on CIFAR-100 in the folder that an accelerator trained."""
    for config in sorted(shipped.rglob("config.json")):
        settings, said = runs.read_config(config.parent)
        seconds = [row["seconds"] for row in runs.read_history(config.parent)[1:]]
        if said["devices"][0].startswith("cpu") or said["class_names"] != list(cifar100.CLASSES) or not seconds:
            continue
        rate = (50_000 - settings.holdout) / median(seconds)
        name = config.parent.relative_to(shipped).as_posix()
        device = f"{', '.join(said['devices'])} ({said['backend']})"
        yield [name, device, said["computed_in"], settings.batch, settings.size, settings.holdout, figure(rate)]


def main(argv=None):
    options = arguments(__doc__, argv)
    devices = ", ".join(training.devices())
    title = "On an accelerator"
    if options.tiny:
        batches, size, alpha, executions, together, side, precision, most = (4,), 32, 0.35, 1, 2, 256, "float32", 1
    elif devices.startswith("cpu"):
        return report(options, "accelerator", title, text=shipped_text())
    else:
        batches, size, alpha, executions, together = (128, 256, 512, 1024), 224, 1.0, 4, 8
        side, precision, most = 8192, "bfloat16", None
    peak = {kind: measured_peak(side, kind) for kind in ("bfloat16", "float32")}
    head = ["levers", *(f"batch {batch}" for batch in batches)]
    shares = ", ".join(f"{kind} {rate / 1e12:.3g}" for kind, rate in peak.items())
    levers = lever_table(batches, size, alpha, executions, together, peak, most)
    text = (
        f"{device_name()} ({devices}), Keras on {keras.config.backend()}; {size} px, width {alpha}. Images a second, "
        f"and in brackets the share of the peak that a product of {side} x {side} matrices reaches here (TFLOP/s: "
        f"{shares}).\n\n{table(head, levers)}"
    )
    if JAX:
        head = ["input", "stride", "library", "its gradient", "one pass", "its gradient", "ratio of gradients"]
        lowerings = table(head, depthwise_table(batches[0], size, precision, most))
        text += f"\n\nDepthwise convolutions at batch {batches[0]} in {precision}, milliseconds:\n\n{lowerings}"
    return report(options, "accelerator", title, text=text)


if __name__ == "__main__":
    main()
