"""One picture at a time: the exported files against Keras's `predict`, a `tf.function` and PyTorch in eager mode.

All hold the same random weights and look at the same picture; their answers are compared before anything is timed.
"""

import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from pairs import alternate, arguments, compare, report, shown, spread, table

from mbv2_lib import deployment, inference
from mbv2_lib.backend import keras
from mbv2_lib.network import mobilenet_v2

CALIBRATION = 20  # pictures of noise: the ranges of random weights ask for no more
AIMS = {"Keras predict": 30, "tf.function": 5, "PyTorch eager": 3}
OURS = "int8, 2 threads"


def ways(size, classes, alpha, folder):
    """Functions that each return the probabilities (1, classes) of the same picture, by name."""
    pictures = np.random.default_rng(0).integers(0, 256, (CALIBRATION, size, size, 3), np.uint8)
    keras.utils.set_random_seed(0)  # with some weights int8 is farther off than with others
    network, one = mobilenet_v2((size, size, 3), classes, alpha), pictures[:1]
    as_float = tf.constant(one.astype("float32"))
    traced = tf.function(network)
    found = {
        "Keras predict": lambda: network.predict(one, verbose=0),  # the picture as it is, as the files are given it
        "tf.function": lambda: traced(as_float).numpy(),
    }
    contents = {"float32": deployment.to_litert(network), "int8": deployment.to_int8(network, pictures)}
    for name, content in contents.items():
        label = {"classes": [f"{number}" for number in range(classes)], "size": size, "numbers": name}
        path = deployment.write_model(Path(folder) / f"{name}.tflite", content, label)
        for threads in (1, 2):
            model = inference.open_model(path, threads)
            found[f"{name}, {threads} thread{'s' * (threads > 1)}"] = lambda run=model.run: run(one)
    return found | in_pytorch(network, one / 127.5 - 1, classes, alpha)


def in_pytorch(network, scaled, classes, alpha):
    """The same in PyTorch, on two threads; nothing where PyTorch is not installed."""
    try:
        import torch
        import torch_network
    except ModuleNotFoundError:
        return {}
    torch.set_num_threads(2)
    model = torch_network.network(classes, alpha)
    torch_network.copy_weights(network, model)
    model, given = model.to(memory_format=torch.channels_last).eval(), torch_network.turned(scaled.astype("float32"))

    def ask():
        with torch.inference_mode():
            return model(given).softmax(dim=1).numpy()

    return {"PyTorch eager": ask}


def expect_same_answers(answers):
    """Raise AssertionError where the answers, by name, differ by more than rounding; int8 may differ by more."""
    expected = answers["Keras predict"]
    length = np.linalg.norm(expected - expected.mean())
    for name, answer in answers.items():
        close = 0.6 if name.startswith("int8") else 1e-3  # another network is off by 1 and more
        assert np.linalg.norm(answer - expected) < close * length, f"{name} gives another answer"


def main(argv=None):
    options = arguments(__doc__, argv)
    size, classes, alpha = (64, 10, 0.35) if options.tiny else (224, 100, 1.0)
    pairs, repeats = (1, 1) if options.tiny else (9, 10)
    with tempfile.TemporaryDirectory() as folder:
        works = ways(size, classes, alpha, folder)
        expect_same_answers({name: work() for name, work in works.items()})
        seconds = alternate(
            {name: lambda work=work: [work() for _ in range(repeats)] for name, work in works.items()}, pairs
        )
    rows = [
        compare(f"one picture, {OURS}, against {name}", seconds[OURS], seconds[name], repeats, None, "pictures/s", aim)
        for name, aim in AIMS.items()
        if name in seconds
    ]
    lines = [[name, shown(spread([1000 * time / repeats for time in times]))] for name, times in seconds.items()]
    text = f"{size} px, width {alpha}, {classes} classes, one picture a call; run by {inference.runtime().name}."
    if "PyTorch eager" not in seconds:
        text += " PyTorch is not installed (`pip install -e '.[torch]'`): left out."
    text += f"\n\n{table(['asked by', 'milliseconds'], lines)}"
    return report(options, "latency", "Latency of one picture", rows, text)


if __name__ == "__main__":
    main()
