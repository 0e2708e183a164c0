"""Where the time of a training step goes, operation by operation: in the stock network, and in ours."""

import tempfile
from collections import Counter
from pathlib import Path

from bounds import measure_machine, step_bound
from matplotlib.figure import Figure
from pairs import arguments, report, table
from train_step import steps

from mbv2_lib import plots

OTHER = "other"
KINDS = {  # what an operation's type says of the kind of its layer
    "DepthwiseConv2d": "depthwise",
    "Conv2D": "convolution",
    "Relu6": "activation",
    "MatMul": "dense",
}
BETWEEN = {  # what stands between a kind of layer and its bound
    "convolution": "products over few channels use less of the units than the square product of the bound",
    "depthwise": "nine multiply-adds a value: too few to hide the reads, which are not all in a row",
    "normalization": "the statistics need the whole tensor before its first value can be written",
    "activation": "a pass of its own over the tensor; fusing it into the normalization would spare it",
    "addition": "a pass of its own; the sums of gradients at the shortcuts are counted here or under other",
    "dense": "small; softmax and loss are not counted in",
    OTHER: "moving statistics, rescaling, optimizer, loss: many small operations, each with its start",
}


def operations(work, repeats):
    """Milliseconds of a step by (kind of layer, type of operation), the mean of `repeats` steps: a Counter."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as aside:
        tf.profiler.experimental.start(aside)
        for _ in range(repeats):
            work()
        tf.profiler.experimental.stop()
        (file,) = Path(aside).rglob("*.xplane.pb")
        planes = xplane_pb2.XSpace.FromString(file.read_bytes()).planes
    found = Counter()
    for plane in planes:
        for event in (event for line in plane.lines for event in line.events):
            scope, _, kind = plane.event_metadata[event.metadata_id].name.partition("#")[0].rpartition(":")
            if "/" in scope and " " not in scope:
                kind = kind.removeprefix("_MklNative").removeprefix("_Mkl")
                found[layer_of(scope, kind), kind] += event.duration_ps / 1e9 / repeats
    return found


def layer_of(scope, operation):
    """The kind of layer that an operation belongs to, by the names of both."""
    if "_bn" in scope.lower() or "bn_" in scope.lower():
        return "normalization"
    if operation.startswith("Add") and "add" in scope.rpartition("/")[0]:
        return "addition"
    return next((kind for part, kind in KINDS.items() if operation.startswith(part)), OTHER)


def drawn(found, title, longest, most=14):
    """The types of operations that take most, as bars; those of batch normalization in their own colour."""
    page = Figure(figsize=(7, 4.2), layout="constrained")
    axes = page.subplots()
    shown = found.most_common(most)
    for place, ((kind, _), milliseconds) in enumerate(shown):
        colour = plots.ORANGE if kind == "normalization" else plots.BLUE
        axes.barh(place, milliseconds, color=colour)
        axes.text(milliseconds + longest / 100, place, f"{milliseconds:.3g}", va="center", fontsize=8)
    axes.set_yticks(range(len(shown)), [name for (_, name), _ in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.1 * longest), xlabel="milliseconds a step")
    page.suptitle(title)
    for colour, label in ((plots.ORANGE, "batch normalization"), (plots.BLUE, "all else")):
        axes.barh(0, 0, color=colour, label=label)
    axes.legend(frameon=False, loc="lower right")
    return page


def main(argv=None):
    options = arguments(__doc__, argv)
    size, batch, classes, alpha, repeats = (96, 8, 10, 0.35, 1) if options.tiny else (224, 16, 100, 1.0, 5)
    machine = measure_machine(256, (0.5, 2)) if options.tiny else measure_machine()
    works = steps(size, batch, classes, alpha)
    for work in works.values():
        work(), work()
    before, after = (operations(works[name], repeats) for name in ("stock", "ours"))

    longest = max([*before.values(), *after.values()])
    names = {"profile_before.png": (before, "keras.applications"), "profile_after.png": (after, "this library")}
    for name, (found, title) in names.items():
        title = f"A training step, {title}: {sum(found.values()):.0f} ms in operations"
        plots.save(drawn(found, title, longest), options.out / name)

    bound, lines = step_bound(machine, alpha, size, batch, classes), []
    for kind in BETWEEN:
        stock, ours = (sum(time for (of, _), time in found.items() if of == kind) for found in (before, after))
        limit = 1000 * (bound["optimizer"] + bound["pooling"] if kind == OTHER else bound[kind])
        lines.append(
            [kind, f"{stock:.1f}", f"{ours:.1f}", f"{limit:.1f}", f"{limit / ours:.0%}" if ours else "", BETWEEN[kind]]
        )
    head = ["part", "stock, ms", "ours, ms", "bound, ms", "share of the bound", "what stands between"]
    text = (
        f"{size} px, batch {batch}, width {alpha}. Milliseconds a step in operations; two operations may run at once, "
        f"so the sum can exceed the step. Normalization's share: {share(before):.0%} in the "
        f"stock network (`keras.applications`), {share(after):.0%} in ours.\n\n" + table(head, lines)
    )
    return report(options, "step_profile", "Where a step's time goes", text=text, pictures=list(names))


def share(found):
    """Batch normalization's share of the time."""
    return sum(time for (kind, _), time in found.items() if kind == "normalization") / sum(found.values())


if __name__ == "__main__":
    main()
