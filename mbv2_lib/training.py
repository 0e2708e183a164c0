"""Training that can be killed and goes on: the model in training, and what is kept after each epoch."""

import contextlib
import dataclasses
import functools
import importlib
import platform
import re
from pathlib import Path

import numpy as np

from mbv2_lib import __version__, augmentation, checking, evaluation, memory, pipeline, plots, runs
from mbv2_lib.ablations import BLOCKS
from mbv2_lib.backend import keras
from mbv2_lib.callbacks import KeepRun, Progress, stops_early
from mbv2_lib.files import UserError, alone_in, write_json
from mbv2_lib.network import mobilenet_v2, replace_head
from mbv2_lib.recipes import RECIPES


class Learner(keras.Model):
    """The network, and what happens to its pictures on the way in: enlarged, and in training varied by the dice."""

    def __init__(self, network, size):
        super().__init__(name="learner")
        self.network = network
        self.size = size
        self.built = True  # the network came with its weights
        # XLA cannot compile TensorFlow's warp, and on a GPU Keras asks for XLA unless a model says that it can not.
        self.supports_jit = keras.config.backend() != "tensorflow"

    def call(self, inputs, training=False):
        pictures = augmentation.enlarge(inputs["pictures"], self.size)
        return self.network(augmentation.vary(pictures, inputs), training=training)

    def predict_split(self, split, batch, mirrored=False):
        """Probabilities (n, classes) for the pictures of a `pipeline.Split`, in its order, or for their mirrors."""
        answers, batch = [], min(batch, len(split.labels))
        for pictures in pipeline.evaluation_batches(split, batch, self.size):
            pictures = pictures[:, :, ::-1] if mirrored else pictures
            missing = batch - len(pictures)  # a last batch of the same shape needs no second compilation
            padded = np.concatenate([pictures, np.zeros((missing, *pictures.shape[1:]), "uint8")])
            answers.append(np.asarray(self.predict_on_batch({"pictures": padded}))[: len(pictures)])
        return np.concatenate(answers)


def build_network(config):
    """The network of a TrainConfig, with random weights of its seed."""
    memory.keep_freed_memory()
    with computing_in(config.precision):
        keras.utils.set_random_seed(config.seed)
        shape = (config.size, config.size, 3)
        block = BLOCKS[config.block]
        return mobilenet_v2(shape, config.classes, config.alpha, config.expansion, config.dropout, block=block)


def trained_network(config, weights):
    """The network of a TrainConfig with the weights of a file. Raises UserError for a file that misfits."""
    network = build_network(config)
    runs.load_weights(network, weights, config.alpha, config.expansion, config.classes)
    return network


def starting_network(config):
    """The network of a TrainConfig with the weights that it starts from. Raises UserError for a file that misfits."""
    if not config.weights:
        return build_network(config)
    starting_classes = config.tclasses or config.classes
    network = trained_network(dataclasses.replace(config, classes=starting_classes), config.weights)
    if starting_classes == config.classes:
        return network
    with computing_in(config.precision):
        return replace_head(network, config.classes)


def build_learner(config, steps):
    """The compiled Learner of a TrainConfig, for epochs of `steps` batches each."""
    recipe = RECIPES[config.recipe]
    learner = Learner(starting_network(config), config.size)
    learning_rate = config.learning_rate or recipe.learning_rate_for(config.batch)
    warmup_epochs = min(5, config.epochs // 10)  # five as in arXiv 1706.02677; fewer in a short run, below ten none
    learner.compile(
        optimizer=recipe.optimizer(learning_rate, steps * config.epochs, steps * warmup_epochs),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="top1")],
        steps_per_execution=steps_between_looks(steps),
    )
    learner.optimizer.build(learner.trainable_variables)
    return learner


def steps_between_looks(steps):
    """How many of an epoch's `steps` the device does before the host asks for the loss, 20 at most.

    A divisor of `steps`, for Keras would fill up the last group with steps of the next epoch.
    To ask is to wait until the device has done all that it was given; meanwhile nothing new reaches it. Asked after
    each step, an H100 stood idle for a third of the time. On a CPU nobody waits: it does the host's work, too.
    """
    if devices()[0].startswith("cpu"):
        return 1
    return max(count for count in range(1, 21) if steps % count == 0)


def devices():
    """The names of the devices that train, such as ["cpu:0"]: accelerators, if any; several on JAX only, else one."""
    everything = keras.distribution.list_devices()
    found = [name for name in everything if not name.startswith("cpu")] or everything
    return found if keras.config.backend() == "jax" else found[:1]


@contextlib.contextmanager
def computing_in(precision):
    """Layers made inside compute in this precision: "auto" is bfloat16 on accelerators, float32 on a CPU.

    Weights stay float32. On a CPU bfloat16 has no units of its own in most machines and is slower.
    """
    if precision == "auto":
        precision = "float32" if devices()[0].startswith("cpu") else "bfloat16"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def train(config, resume=False, callbacks=()):
    """Train the network of a TrainConfig and keep the run in its folder; with `resume`, go on where it stopped.

    callbacks: further keras.callbacks.Callback, such as a live plot.
    Returns the rows of history.csv. Raises UserError before the first epoch for data, weights or settings that do not
    fit, and later for a loss that is not a number or a disk that is full; whole epochs are kept.
    """
    with alone_in(config.run):
        done, values = runs.read_state(config.run) if resume else (0, [])
        expect_a_start(config, resume, done)
        sharing = share_work_among_devices(config)
        data = pipeline.open_data(config.data, config.holdout)
        check_fits(config, data)
        plan = pipeline.Plan(
            data.train.labels,
            config.classes,
            config.batch,
            config.size,
            RECIPES[config.recipe].augmentation,
            config.seed,
            multiple_of=sharing,
        )
        # Where epochs are done, the state holds every weight, and the file to start from may be gone.
        with told_in_one_line(config):
            learner = build_learner(dataclasses.replace(config, weights=None) if done else config, plan.steps)
        if resume:
            go_on(config, data, learner, done, values)
        else:
            write_json(Path(config.run) / "config.json", describe(config, data, learner))
        announce(config, data, learner, done)
        if done < config.epochs and not stops_early(config, runs.read_history(config.run)[:done]):
            fit(config, data, learner, plan, done, callbacks)
        history = runs.read_history(config.run)
        plots.save(plots.curves(history), Path(config.run) / "curves.png")
    return history


def fit(config, data, learner, plan, done, callbacks):
    """Train the epochs that are not done, and keep each. Raises UserError for what a user can mend."""
    batches = functools.partial(pipeline.training_batches, data.train, plan)
    progress = Progress(plan.steps, config.epochs)
    with told_in_one_line(config), contextlib.closing(progress):
        learner.fit(
            batches(first_epoch=done),
            steps_per_epoch=plan.steps,
            initial_epoch=done,
            epochs=config.epochs,
            verbose=0,
            shuffle=False,  # the plan has shuffled
            callbacks=[
                progress,
                KeepRun(config, data.validation, batches, done),
                *callbacks,
            ],
        )


@contextlib.contextmanager
def told_in_one_line(config):
    """Raises UserError for what a user can mend and a backend wraps in words of its own: no memory, a picture gone."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if ours := re.search(r"UserError: (.+)", said):
            raise UserError(ours[1]) from error
        if not any(words in said for words in ("MemoryError", "ResourceExhausted", "RESOURCE_EXHAUSTED", "is too big")):
            raise
        raise UserError(
            f"--batch {config.batch} --size {config.size} --alpha {config.alpha} --expansion {config.expansion}: needs "
            "more memory than there is; choose smaller ones"
        ) from error


def share_work_among_devices(config):
    """On JAX, each of several devices takes its part of every batch (keras.distribution.DataParallel).

    Returns how many share a batch. Raises UserError for a batch that does not divide by them.
    """
    count = len(devices())
    if count == 1:
        return 1
    if config.batch % count:
        raise UserError(f"--batch: expected a multiple of the {count} devices, found {config.batch}")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices()))
    return count


def expect_a_start(config, resume, done):
    """Raise UserError, before the pictures are read, for a folder that holds a run, or weights that do not fit it.

    done: epochs of a run that is resumed; with them, the weights that it started from may be gone.
    """
    written = ("state.npz", "history.csv", "best.weights.h5", "last.weights.h5")
    if not resume and any((Path(config.run) / name).exists() for name in written):
        raise UserError(f"{config.run}: holds a run already; add --resume to go on with it, or choose another --run")
    epochs = len(runs.read_history(config.run))
    if epochs > done + 1:  # a kill leaves one row that the state does not know of, no more
        raise UserError(
            f"{config.run}/state.npz: expected the state after {epochs} epochs, found that after {done}; restore it "
            "or choose another --run"
        )
    if config.weights and not done:
        if Path(config.weights).resolve().parent == Path(config.run).resolve():
            raise UserError(
                f"--run {config.run}: expected another folder than that of --weights, which the run would overwrite, "
                "found the same; choose another --run"
            )
        runs.expect_weights(config.weights, config.alpha, config.expansion, config.tclasses or config.classes)


def check_fits(config, data):
    """Raise UserError, before anything is written, where the settings and the data do not fit each other."""
    if len(data.classes) < 2:
        raise UserError(f"{config.data}: expected at least 2 classes to tell apart, found 1; add pictures of another")
    if config.classes != len(data.classes):
        raise UserError(f"--classes {config.classes}: {config.data} holds {len(data.classes)} classes; say that number")
    check_readable(data, config.data)


def check_readable(data, path):
    """Raise UserError where a picture file of `data`, which stands at `path`, cannot be read."""
    paths = [file for split in (data.train, data.validation) for file in split.pictures if isinstance(file, str)]
    unreadable = checking.find_unreadable(paths) if paths else []
    if unreadable:
        raise UserError(
            f"{unreadable[0]}: expected a whole picture, found one that cannot be read (of {len(unreadable)} such); "
            f"`mbv2 check {path}` lists them all"
        )


def open_same_data(path, config, described):
    """The `pipeline.Data` at `path`. Raises UserError where its classes are not those that the run was trained on.

    Validation is the set's own, also where the run was watched on training pictures (`holdout`).
    """
    try:
        data = pipeline.open_data(path)
    except UserError as error:
        raise UserError(f"--data {error}") from error
    if list(data.classes) != described["class_names"]:
        same = sorted(data.classes) == sorted(described["class_names"])
        raise UserError(
            f"--data {path}: expected the {len(described['class_names'])} classes that {config.run} was trained on, "
            f"found {len(data.classes)} {'in another order' if same else 'other ones'}; name the run's own data"
        )
    return data


def go_on(config, data, learner, done, values):
    """Bring `learner` to where the run stopped, with what `runs.read_state` returned.

    Raises UserError where data, history or network are not those that the run began with.
    """
    _, described = runs.read_config(config.run)
    if described["data_digest"] != data.digest:
        raise UserError(
            f"{config.data}: expected the pictures that {config.run} began with, found others; restore them"
        )
    if [row["epoch"] for row in runs.read_history(config.run)[:done]] != list(range(1, done + 1)):
        raise UserError(f"{config.run}/history.csv: expected a row for each of {done} epochs; restore it or begin anew")
    if done:
        variables = runs.state_of(learner)
        if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
            raise UserError(f"{config.run}/state.npz: expected the state of this network, found another's; begin anew")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def announce(config, data, learner, done):
    """Say what is trained on what, and loudly on which device."""
    pictures = f"{len(data.train.labels):,} training pictures, {len(data.validation.labels):,} held out"
    print(f"{config.run}: {pictures}" + (f"; goes on after epoch {done}" if done else ""))
    computed_in = learner.network.get_layer("stem").compute_dtype
    no_gpu = " (no GPU in use)" if devices()[0].startswith("cpu") else ""
    print(f"Training with {keras.config.backend()} on {', '.join(devices())}{no_gpu}, in {computed_in}", flush=True)


def describe(config, data, learner):
    """Everything that config.json holds: the settings, and what they met."""
    return dataclasses.asdict(config) | {
        "class_names": list(data.classes),
        "data_digest": data.digest,
        "backend": keras.config.backend(),
        "devices": devices(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "computed_in": learner.network.get_layer("stem").compute_dtype,
        "parameters": learner.network.count_params(),
        "versions": {
            "mbv2_lib": __version__,
            "keras": keras.__version__,
            keras.config.backend(): importlib.import_module(keras.config.backend()).__version__,
            "python": platform.python_version(),
        },
    }


def measure(config, described, data_path, weights, flips=False):
    """Measure the weights of a run on the validation pictures of `data_path`; returns what metrics.json holds.

    These are the set's own, also where the run was watched on training pictures (`holdout`): a look at the exam.
    described: the whole config.json. flips: also average the answers to each picture and its mirror image, reported
    apart from the figures of the single view. Raises UserError where the classes are not those of the run.
    """
    data = open_same_data(data_path, config, described)
    check_readable(data, data_path)
    learner = Learner(trained_network(config, weights), config.size)
    probabilities = learner.predict_split(data.validation, config.batch)
    metrics = evaluation.evaluate(probabilities, data.validation.labels)
    metrics |= {"weights": Path(weights).name.split(".")[0], "data": str(data_path), "data_digest": data.digest}
    if groups := pipeline.superclasses(data.classes):
        metrics["top1_by_superclass"] = evaluation.top1_by_superclass(
            probabilities, data.validation.labels, data.classes, groups
        )
    metrics |= apart_from_copies(probabilities, data)
    if flips:
        both = (probabilities + learner.predict_split(data.validation, config.batch, mirrored=True)) / 2
        metrics["with_flips"] = evaluation.evaluate(both, data.validation.labels)
    return metrics


def apart_from_copies(probabilities, data):
    """How many validation pictures stand in training, too, and top-1 without them; what metrics.json holds of it."""
    own = ~pipeline.copied(data)
    right = evaluation.in_top(probabilities, data.validation.labels, 1)
    return {
        "copies_of_training": int((~own).sum()),
        "top1_without_copies": float(right[own].mean()) if own.any() else None,
    }
