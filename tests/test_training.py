"""A run can be killed, stopped, poisoned or run out of disk, and what was whole stays whole; it runs on JAX as well."""

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
from tqdm import tqdm

from mbv2_lib import architecture, augmentation, callbacks, evaluation, folders, pipeline, recipes, runs, training
from mbv2_lib.config import TrainConfig, flag
from mbv2_lib.files import UserError, alone_in

SETTINGS = {"classes": 4, "size": 32, "batch": 8, "alpha": 0.35, "expansion": 1, "seed": 7}
SHORT = """
import sys
from mbv2_lib import architecture
from mbv2_lib.__main__ import main
architecture.ROWS = architecture.ROWS[:2]
sys.exit(main())
"""


@pytest.fixture(scope="module", autouse=True)
def short_networks():
    """Two of the paper's seven rows: a step is traced in a fraction of the time, and no claim here is about depth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architecture, "ROWS", architecture.ROWS[:2])
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve pictures of each of four colours, a fifth of them held out, as folders."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 12)
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 40]])
    pictures = np.clip(colours[labels][:, None, None] + rng.normal(0, 30, (48, 32, 32, 3)), 0, 255).astype("uint8")
    out = tmp_path_factory.mktemp("data") / "colours"
    held = np.arange(48) % 4 == 0
    splits = {"train": (pictures[~held], labels[~held]), "validation": (pictures[held], labels[held])}
    folders.write_folders(out, splits, ["red", "green", "blue", "yellow"], size=32, progress=False)
    return out


def config_of(data, run, **settings):
    return TrainConfig(data=str(data), run=str(run), **{**SETTINGS, "epochs": 3, **settings})


def start(data, run, *flags, **how):
    command = [sys.executable, "-c", SHORT, "train", "--data", str(data), "--run", str(run), "--epochs", "3"]
    for name, value in SETTINGS.items():
        command += [f"--{name}", str(value)]
    return subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole_run(data, tmp_path_factory):
    """Three epochs that nobody disturbed."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    training.train(config_of(data, run, recipe="long"))
    return run


def test_the_weights_that_are_kept_are_those_that_were_measured(whole_run, data):
    config, described = runs.read_config(whole_run)
    found = training.measure(config, described, data, whole_run / "last.weights.h5")
    assert found["loss"] == pytest.approx(runs.read_history(whole_run)[-1]["val_loss"], rel=1e-4)


def test_an_answer_with_flips_is_the_mean_of_a_picture_and_its_mirror_image(monkeypatch):
    split = pipeline.Split(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, int))
    monkeypatch.setattr(training, "open_same_data", lambda *a: pipeline.Data(split, split, ["a", "b"], "digest"))
    monkeypatch.setattr(training, "trained_network", lambda *a: None)
    answers = {False: [1.0, 0.0], True: [0.2, 0.8]}
    monkeypatch.setattr(
        training.Learner, "predict_split", lambda *a, mirrored=False: np.tile(answers[mirrored], (4, 1))
    )
    found = training.measure(TrainConfig(classes=2), {}, "data", "last.weights.h5", flips=True)
    assert found["loss"] == 0 and found["with_flips"]["loss"] == pytest.approx(-np.log(0.6))


def test_the_best_weights_are_another_file_than_the_last(whole_run):
    assert runs.weights_file(whole_run, "best").name == "best.weights.h5"
    assert runs.weights_file(whole_run, "last").name == "last.weights.h5"


def test_a_run_leaves_what_the_next_command_needs(whole_run):
    assert {path.name for path in whole_run.iterdir()} == {
        "config.json",
        "history.csv",
        "best.weights.h5",
        "last.weights.h5",
        "state.npz",
        "curves.png",
    }
    config, described = runs.read_config(whole_run)
    assert config.classes == 4 and described["class_names"] == ["red", "green", "blue", "yellow"]
    assert described["devices"] and described["versions"]["keras"] == keras.__version__ and described["data_digest"]


def same_history(one, other):
    assert [row["epoch"] for row in one] == [1, 2, 3]
    for row, twin in zip(one, other, strict=True):
        for name in ("epoch", "loss", "top1", "val_loss", "val_top1", "learning_rate"):
            assert row[name] == pytest.approx(twin[name], rel=1e-3), name


def test_a_killed_run_goes_on_as_if_nothing_had_happened_and_repeats_no_epoch(data, whole_run, tmp_path):
    """SIGKILL at the worst moment; the resumed curve is the curve of the run that nobody killed.

    The worst moment is between two files: the row of an epoch is written, the state that knows of it is not.
    """
    run = tmp_path / "killed"
    process = start(data, run, "--recipe", "long")
    wait_for((run / "state.npz").exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done, _ = runs.read_state(run)
    rows = runs.read_history(run)[:done]
    assert done < 3
    runs.write_history(run, [*rows, rows[-1] | {"epoch": done + 1, "loss": 99.0}])
    training.train(runs.resumed_config({"run": str(run)}), resume=True)
    same_history(runs.read_history(run), runs.read_history(whole_run))


def test_several_steps_between_two_looks_at_the_loss_are_the_same_run(data, whole_run, tmp_path, monkeypatch):
    run, ends = tmp_path / "seldom", []
    monkeypatch.setattr(training, "steps_between_looks", lambda steps: steps)

    class Ends(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            ends.append(batch)

    training.train(config_of(data, run, recipe="long"), callbacks=[Ends()])
    assert ends == 3 * [4]  # one look in each epoch of five batches
    same_history(runs.read_history(run), runs.read_history(whole_run))


def test_an_accelerator_is_asked_seldom_but_at_the_end_of_each_epoch(monkeypatch):
    assert training.steps_between_looks(198) == 1  # on a CPU
    monkeypatch.setattr(training, "devices", lambda: ["gpu:0"])
    found = {steps: training.steps_between_looks(steps) for steps in (1, 7, 19, 40, 97, 198)}
    assert found == {1: 1, 7: 7, 19: 19, 40: 20, 97: 1, 198: 18}


def test_control_c_stops_soon_and_says_how_to_go_on(data, tmp_path):
    run = tmp_path / "stopped"
    process = start(data, run, "--epochs", "5000")
    wait_for((run / "history.csv").exists, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"mbv2 train --run {run} --resume" in errors and "Traceback" not in errors


class Poison(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.poisoned = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch + 1 == self.poisoned:
            self.model.network.get_layer("classifier").bias.assign(np.full(4, np.nan, "float32"))


def test_a_loss_that_is_no_number_in_the_first_epoch_promises_no_weights(data, tmp_path, monkeypatch):
    bars = []

    class Bar(tqdm):
        def __init__(self, *given, **settings):
            super().__init__(*given, **settings | {"disable": False, "file": io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(callbacks, "tqdm", Bar)
    with pytest.raises(UserError, match=r"epoch 1: the loss is nan at a learning rate of 0\.001; begin another --run"):
        training.train(config_of(data, tmp_path / "run"), callbacks=[Poison(epoch=1)])
    assert bars and all(bar.disable for bar in bars)  # as tqdm leaves a closed one: the error has a line to itself


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_weights(data, tmp_path):
    run = tmp_path / "poisoned"
    with pytest.raises(UserError, match=r"epoch 2: the loss is nan at .*; the weights of the epoch before are kept"):
        training.train(config_of(data, run), callbacks=[Poison(epoch=2)])
    assert len(runs.read_history(run)) == 1
    network = training.build_network(config_of(data, run))
    for name in ("best", "last"):
        runs.load_weights(network, run / f"{name}.weights.h5", 0.35, 1, 4)
        assert all(np.isfinite(weight).all() for weight in network.get_weights())


def test_the_best_weights_are_those_of_the_best_epoch(data, tmp_path, monkeypatch):
    run, scores, kept = tmp_path / "best", iter([0.1, 0.3, 0.2]), []
    monkeypatch.setattr(evaluation, "evaluate", lambda *given: {"loss": 1.0, "top1": next(scores), "top5": 1.0})

    class Keep(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch:
                kept.append((run / "last.weights.h5").read_bytes())

    training.train(config_of(data, run), callbacks=[Keep()])
    last = (run / "last.weights.h5").read_bytes()
    assert (run / "best.weights.h5").read_bytes() == kept[1] and len({*kept, last}) == 3


@pytest.mark.parametrize("megabytes", [0.3, 3])
def test_a_full_disk_is_said_in_one_line_and_leaves_no_half_file(data, tmp_path, megabytes):
    """A file may not grow past the limit: the weights (over 2 MB) hit the first one, the state (4 MB) the second."""
    run = tmp_path / "full"
    limit = int(megabytes * 1e6)
    limited = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))}
    process = start(data, run, "--alpha", "3", **limited)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    line = errors.strip().splitlines()[-1]
    assert "could not be written" in line and "free some space" in line and "Traceback" not in errors
    assert not [path for path in run.iterdir() if "partial" in path.name]
    if megabytes > 1:  # what was whole is whole
        network = training.build_network(config_of(data, run, alpha=3.0))
        runs.load_weights(network, run / "last.weights.h5", 3.0, 1, 4)
        assert len(runs.read_history(run)) == 1


def test_early_stopping_counts_epochs_without_a_better_top1():
    rows = [{"val_top1": value} for value in (0.1, 0.3, 0.3, 0.2)]
    assert [callbacks.epochs_since_best(rows[: count + 1]) for count in range(4)] == [0, 0, 1, 2]


def test_early_stopping_ends_a_run_that_gets_no_better(data, tmp_path):
    run = tmp_path / "early"
    training.train(config_of(data, run, epochs=50, learning_rate=1e-12, patience=2))
    rows = runs.read_history(run)
    assert len(rows) < 10
    training.train(runs.read_config(run)[0], resume=True)  # it is over: nothing is added
    assert runs.read_history(run) == rows


# -- the recipes -------------------------------------------------------------------------------------------------------


def test_the_first_recipe_is_adam_at_one_rate():
    optimizer = recipes.RECIPES["first"].optimizer(1e-3, 100, 0)
    assert isinstance(optimizer, keras.optimizers.Adam) and float(optimizer.learning_rate) == pytest.approx(1e-3)


def test_a_learner_is_compiled_as_its_settings_and_recipe_say():
    config = TrainConfig(**SETTINGS | {"batch": 64, "epochs": 20, "recipe": "short", "dropout": 0.5})
    learner = training.build_learner(config, steps=5)
    rates = [float(learner.optimizer._learning_rate(step)) for step in range(101)]
    assert (np.argmax(rates), max(rates), rates[-1]) == pytest.approx((10, 0.05, 0), abs=1e-6)
    assert learner.optimizer.momentum == 0.9 and learner.optimizer.nesterov
    answer, target = np.array([[0.7, 0.1, 0.1, 0.1]], "float32"), np.eye(4)[:1]
    smooth = 0.9 * target + 0.1 / 4
    assert float(learner.loss(target, answer)) == pytest.approx(-(smooth * np.log(answer)).sum(), rel=1e-5)
    assert learner.network.get_layer("dropout").rate == 0.5
    modern = recipes.RECIPES["modern"].optimizer(0.1, 2000, 0)
    assert modern.ema_momentum == pytest.approx(0.99)
    assert (learner.optimizer.weight_decay, modern.weight_decay) == (5e-4, 5e-3)


def test_a_seed_decides_the_first_weights():
    networks = [training.build_network(TrainConfig(**SETTINGS | {"seed": seed})) for seed in (1, 1, 2)]
    one, same, other = (network.get_layer("stem").get_weights()[0] for network in networks)
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_a_run_is_fed_as_its_settings_and_recipe_say(data, tmp_path, monkeypatch):
    asked, given = [], pipeline.training_batches
    seen = lambda split, plan, **how: asked.append(plan) or given(split, plan, **how)  # noqa: E731
    monkeypatch.setattr(pipeline, "training_batches", seen)
    training.train(config_of(data, tmp_path / "run", epochs=1, recipe="short"))
    found = asked[0]
    assert (found.batch, found.size, found.seed) == (SETTINGS["batch"], SETTINGS["size"], SETTINGS["seed"])
    assert found.augmentation == recipes.RECIPES["short"].augmentation


def test_the_network_is_fed_with_what_the_dice_say_and_measured_on_pictures_or_their_mirrors():
    given = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    learner = training.Learner(lambda pictures, training: pictures, 8)
    warp = np.tile(np.float32([-1, 0, 7, 0, 1, 0, 0, 0]), (3, 1))  # mirrored
    np.testing.assert_array_equal(learner.call({"pictures": given, "warp": warp}, training=True), given[:, :, ::-1])
    learner.predict_on_batch = lambda inputs: inputs["pictures"].reshape(len(inputs["pictures"]), -1)
    split = pipeline.Split(given, np.zeros(3, int))
    np.testing.assert_array_equal(learner.predict_split(split, 2), given.reshape(3, -1))
    np.testing.assert_array_equal(learner.predict_split(split, 2, mirrored=True), given[:, :, ::-1].reshape(3, -1))


def test_the_modern_learning_rate_warms_up_and_ends_at_zero():
    schedule = recipes.RECIPES["modern"].optimizer(0.2, steps=100, warmup_steps=10)._learning_rate
    rates = np.array([float(schedule(step)) for step in range(101)])
    np.testing.assert_allclose(rates[:11], np.linspace(0, 0.2, 11), atol=1e-6)
    np.testing.assert_allclose(rates[10:], 0.1 * (1 + np.cos(np.linspace(0, np.pi, 91))), atol=1e-6)


def test_weight_decay_spares_normalization_and_biases():
    """A step without gradients shrinks what is decayed, by rate times decay, and nothing else."""
    network = training.build_network(TrainConfig(**SETTINGS))
    optimizer = recipes.RECIPES["modern"].optimizer(0.1, 10, 0)
    before = {variable.path: np.array(variable) for variable in network.trainable_variables}
    gradients = [keras.ops.zeros_like(variable) for variable in network.trainable_variables]
    optimizer.apply(gradients, network.trainable_variables)
    for variable in network.trainable_variables:
        left = 1 - 0.1 * 5e-3 if "kernel" in variable.path else 1
        np.testing.assert_allclose(variable, left * before[variable.path], rtol=1e-6, err_msg=variable.path)


def test_a_run_can_be_looked_into_where_the_weights_that_it_started_from_are_gone():
    config = TrainConfig(**SETTINGS, weights="gone.weights.h5", tclasses=7)
    assert training.build_network(config).output_shape == (None, SETTINGS["classes"])
    with pytest.raises(UserError, match="gone.weights.h5: expected a weight file"):
        training.build_learner(config, steps=1)


def test_averaged_weights_are_measured_with_statistics_of_their_own_and_put_back(data):
    config = config_of(data, "unused", recipe="modern")
    opened = pipeline.open_data(data)
    plan = pipeline.Plan(opened.train.labels, 4, 8, 32, recipes.RECIPES["modern"].augmentation)
    learner = training.build_learner(config, plan.steps)
    batches = pipeline.training_batches(opened.train, plan)
    learner.fit(batches, steps_per_epoch=20, verbose=0, shuffle=False)
    averages = [np.array(value) for value in learner.trainable_variables]  # `fit` leaves them in place at its end
    for value in learner.trainable_variables:
        value.assign(value + 1)  # as in the middle of a training, where the weights are elsewhere
    before = [np.array(value) for value in learner.variables]
    gatherer = callbacks.Gatherer(learner)
    with callbacks.averaged_weights(learner, gatherer, lambda: pipeline.training_batches(opened.train, plan)):
        inside = [np.array(value) for value in learner.variables]
        for average, value in zip(averages, learner.trainable_variables, strict=True):
            np.testing.assert_allclose(value, average, atol=1e-5)
    moving = [place for place, value in enumerate(learner.variables) if "moving" in value.path]
    assert moving and all(not np.array_equal(before[place], inside[place]) for place in moving)
    for one, other in zip(before, learner.variables, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)  # the swap rounds


def test_precision_is_float32_on_a_cpu_and_bfloat16_when_asked():
    with training.computing_in("auto"):
        assert keras.config.dtype_policy().name == "float32"
    network = training.build_network(TrainConfig(**SETTINGS, precision="bfloat16"))
    assert network.get_layer("stem").compute_dtype == "bfloat16"
    assert network.get_layer("classifier").compute_dtype == "float32" and network.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("batch", 0, "a whole number from 1 to 2147483647"),
        ("expansion", 0, "a whole number from 1 to 99"),
        ("dropout", 1.5, "a number from 0 to below 1"),
        ("weights", 3, "a path"),
        ("precision", "fp32", "one of auto, float32, bfloat16"),
    ],
)
def test_settings_that_no_run_may_have_are_named_before_anything_is_written(data, tmp_path, name, wrong, expected):
    with pytest.raises(UserError, match=f"--{name}: expected {expected}, found {wrong!r}"):
        training.train(config_of(data, tmp_path / "run", **{name: wrong}))
    assert not (tmp_path / "run").exists()


def test_two_trainings_do_not_write_into_one_run(data, tmp_path):
    config = config_of(data, tmp_path / "run")
    with alone_in(tmp_path / "run"), pytest.raises(UserError, match="run: expected to be alone there"):
        training.train(config)
    assert not (tmp_path / "run").exists()


def test_weights_that_misfit_are_named_before_the_pictures_are_read(whole_run, tmp_path):
    for weights, said in (("none.weights.h5", "no such file"), (whole_run / "last.weights.h5", "holds a network")):
        config = config_of(tmp_path / "no pictures", tmp_path / "run", weights=str(weights), tclasses=9)
        with pytest.raises(UserError, match=said):
            training.train(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_whose_state_is_gone_is_not_trained_over(resume, damaged, whole_run):
    (damaged / "state.npz").unlink()
    config = runs.resumed_config({"run": str(damaged)})
    with pytest.raises(UserError, match="expected the state after 3 epochs" if resume else "holds a run already"):
        training.train(config, resume=resume)
    for name in ("history.csv", "last.weights.h5"):
        assert (damaged / name).read_bytes() == (whole_run / name).read_bytes()


def test_a_file_in_the_place_of_the_run_folder_is_named(tmp_path):
    (tmp_path / "run").write_bytes(b"somebody's")
    with pytest.raises(UserError, match="expected a folder to write to, found a file"):
        training.train(config_of(tmp_path / "no pictures", tmp_path / "run"))
    assert (tmp_path / "run").read_bytes() == b"somebody's"


@pytest.mark.parametrize("name", ["best.weights.h5", "last.weights.h5"])
def test_weights_without_a_history_are_not_written_over(name, tmp_path):
    (tmp_path / name).write_bytes(b"somebody's")
    with pytest.raises(UserError, match="holds a run already"):
        training.train(config_of(tmp_path / "no pictures", tmp_path))
    assert (tmp_path / name).read_bytes() == b"somebody's"


# -- the other backend -------------------------------------------------------------------------------------------------

ON_JAX = """
import sys, numpy as np
class NoTensorFlow:  # as if it were not installed: the array path needs none of it
    def find_spec(self, name, *rest):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTensorFlow())
from mbv2_lib import architecture, augmentation, pipeline, runs, training
from mbv2_lib.config import TrainConfig
from mbv2_lib.backend import keras
from mbv2_lib.recipes import RECIPES
architecture.ROWS = architecture.ROWS[:2]
rng = np.random.default_rng(0)
labels = np.tile(np.arange(4), 16)
pictures = (rng.integers(0, 120, (64, 32, 32, 3)) + 30 * labels[:, None, None, None]).astype("uint8")
split = pipeline.Split(pictures, labels)
pipeline.open_data = lambda path, holdout=0: pipeline.Data(split, split.take(np.arange(12)), list("abcd"), "digest")
settings = {"size": 32, "batch": 64, "alpha": 0.35, "expansion": 1, "epochs": 2, "recipe": "short"}
config = TrainConfig(classes=4, data="made", run=sys.argv[1], **settings)
training.train(config)
assert keras.config.backend() == "jax"
if len(training.devices()) == 1:
    metrics = training.measure(config, runs.read_config(config.run)[1], "made", f"{config.run}/last.weights.h5")
    assert metrics["pictures"] == 12
dice = augmentation.draw(RECIPES["long"].augmentation, np.random.default_rng(1), 64, 32)
np.savez(f"{config.run}/varied.npz", given=pictures, varied=augmentation.vary(pictures, dice))
print(len(training.devices()))
"""


def start_on_jax(run, devices):
    compiled_soon = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    flags = f"--xla_force_host_platform_device_count={devices} {compiled_soon}"
    environment = os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    how = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", ON_JAX, str(run)], **how)


def test_training_and_evaluation_run_on_jax_and_two_devices_give_the_loss_of_one(tmp_path):
    processes = {devices: start_on_jax(tmp_path / f"on-{devices}", devices) for devices in (1, 2)}
    for devices, process in processes.items():
        said, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
        assert said.split()[-1] == str(devices)
    one, two = (runs.read_history(tmp_path / f"on-{devices}") for devices in (1, 2))
    assert [row["epoch"] for row in one] == [1, 2] and np.isfinite(one[-1]["val_loss"])
    for one_epoch, two_epoch in zip(one, two, strict=True):  # one step an epoch: rounding has no time to grow
        assert one_epoch["loss"] == pytest.approx(two_epoch["loss"], rel=1e-3)
    assert (tmp_path / "on-2" / "last.weights.h5").exists()
    with np.load(tmp_path / "on-1" / "varied.npz") as on_jax:
        dice = augmentation.draw(recipes.RECIPES["long"].augmentation, np.random.default_rng(1), 64, 32)
        np.testing.assert_allclose(on_jax["varied"], augmentation.vary(on_jax["given"], dice), atol=0.05)


class StopsAfterAnEpoch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def test_a_fine_tuning_goes_on_without_the_file_that_it_began_with(data, tmp_path):
    weights = tmp_path / "seven.weights.h5"
    training.build_network(config_of(data, "unused", classes=7)).save_weights(weights)
    settings = {"weights": str(weights), "tclasses": 7, "epochs": 2}
    whole = training.train(config_of(data, tmp_path / "whole", **settings))
    stopped = config_of(data, tmp_path / "stopped", **settings)
    with pytest.raises(KeyboardInterrupt):
        training.train(stopped, callbacks=[StopsAfterAnEpoch()])
    weights.unlink()
    resumed = training.train(stopped, resume=True)
    assert [row["epoch"] for row in resumed] == [1, 2]
    for one, other in zip(whole, resumed, strict=True):
        assert other["loss"] == pytest.approx(one["loss"]) and other["val_loss"] == pytest.approx(one["val_loss"])


def test_a_run_does_not_go_on_with_other_pictures(damaged):
    written = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps(written | {"data_digest": "of others"}))
    with pytest.raises(UserError, match="expected the pictures that .* began with"):
        training.train(runs.resumed_config({"run": str(damaged)}), resume=True)


def test_top1_without_copies_leaves_out_the_copies():
    pictures = np.arange(6, dtype="uint8").reshape(6, 1, 1, 1)
    train, held_out = pipeline.Split(pictures[:3], np.zeros(3, int)), pipeline.Split(pictures[1:], np.zeros(5, int))
    answers = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]], float)  # right on both copies and on one of three
    found = training.apart_from_copies(answers, pipeline.Data(train, held_out, ["a", "b"], "digest"))
    assert found == {"copies_of_training": 2, "top1_without_copies": pytest.approx(1 / 3)}


def test_sound_weights_of_another_name_are_to_be_renamed(data, whole_run, tmp_path):
    weights = shutil.copy(whole_run / "last.weights.h5", tmp_path / "mine.h5")
    with pytest.raises(UserError, match="mine.h5: expected a name that ends in .weights.h5"):
        training.trained_network(config_of(data, "unused"), weights)


# -- run folders that somebody edited, and what a backend says in words of its own -------------------------------------


@pytest.fixture
def damaged(whole_run, tmp_path):
    """A copy of the whole run, to be damaged."""
    return shutil.copytree(whole_run, tmp_path / "damaged")


@pytest.mark.parametrize("content", ["[1, 2]", '{"classes": 4}', "3"])
def test_settings_that_are_none_are_named(content, damaged):
    (damaged / "config.json").write_text(content)
    with pytest.raises(UserError, match="config.json: expected all settings of a run, found none of .*"):
        runs.read_config(damaged)


KINDS = [("alpha", "wide"), ("classes", 4.5), ("weights", 3), ("seed", None), ("epochs", True)]
RANGES = [("size", 0), ("batch", -1), ("tclasses", 0), ("learning_rate", 0.0), ("alpha", float("nan")), ("seed", -1)]
RANGES += [("dropout", 1.0), ("seed", 2**32), ("alpha", float("inf")), ("alpha", 1e6), ("expansion", 10**30)]
RANGES += [("size", 4097), ("batch", 10**400), ("epochs", 2**31)]
WORDS = [("block", "round"), ("recipe", "best"), ("precision", ["float32"])]


@pytest.mark.parametrize(("name", "value"), KINDS + RANGES + WORDS)
def test_a_setting_of_another_kind_or_out_of_range_is_named(name, value, damaged):
    written = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps(written | {name: value}))
    with pytest.raises(UserError, match=f"config.json: {flag(name)}: expected"):
        runs.read_config(damaged)


def test_a_whole_number_is_a_width_too(damaged):
    written = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps(written | {"alpha": 1}))
    assert runs.read_config(damaged)[0].alpha == 1


@pytest.mark.parametrize("missing", ["data", "run", "weights", "classes"])
def test_a_setting_that_is_missing_is_named(missing, damaged):
    written = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps({name: written[name] for name in written if name != missing}))
    with pytest.raises(UserError, match=f"expected all settings of a run, found none of {missing}"):
        runs.read_config(damaged)


@pytest.mark.parametrize(
    "met", [{"class_names": 5}, {"class_names": [1, 2]}, {"class_names": None}, {"data_digest": {}}]
)
def test_settings_without_what_they_met_are_named(met, damaged):
    written = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps(written | met))
    with pytest.raises(UserError, match="config.json: expected class_names and data_digest"):
        runs.read_config(damaged)


@pytest.mark.parametrize("edit", [lambda row: row | {"more": 1}, lambda row: dict(list(row.items())[:-1])])
def test_a_history_with_other_columns_is_named_before_an_epoch_is_trained(edit, damaged):
    runs.write_history(damaged, [edit(row) for row in runs.read_history(damaged)])
    with pytest.raises(UserError, match="history.csv: expected a number in every column"):
        runs.read_history(damaged)


def test_a_single_class_is_refused(data, tmp_path):
    for split in ("train", "validation"):
        shutil.copytree(data / split / "red", tmp_path / "one" / split / "red")
    with pytest.raises(UserError, match="expected at least 2 classes to tell apart, found 1"):
        training.train(config_of(tmp_path / "one", tmp_path / "run", classes=1))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"epochs"])
def test_a_damaged_state_is_named(content, damaged):
    (damaged / "state.npz").write_bytes(content)
    with pytest.raises(UserError, match="state.npz: expected the state of a run, found a damaged file"):
        runs.read_state(damaged)


def test_a_run_without_its_history_does_not_go_on(data, damaged):
    (damaged / "history.csv").unlink()
    learner = training.build_learner(config_of(data, damaged, recipe="modern"), steps=3)
    with pytest.raises(UserError, match="history.csv: expected a row for each of 3 epochs"):
        training.go_on(config_of(data, damaged), pipeline.open_data(data), learner, *runs.read_state(damaged))


def test_weights_of_any_width_are_read_again_and_those_without_a_layer_are_named(tmp_path):
    config = TrainConfig(**SETTINGS | {"alpha": 0.42})
    path = tmp_path / "some.weights.h5"
    network = training.build_network(config)
    runs.write_weights(path, network)
    runs.load_weights(network, path, 0.42, 1, 4)
    with h5py.File(path, "a") as file:
        del file["layers"][next(name for name in file["layers"] if "normalization" in name)]
    with pytest.raises(UserError, match="expected all layers of a MobileNetV2"):
        runs.load_weights(network, path, 0.42, 1, 4)


@pytest.mark.parametrize(
    "content", ["epoch,loss\nx,y\n", "epoch,loss\n1,2\n", "epoch,loss\n1\n", "loss\n1\n", "epoch,loss\n1,2,3\n"]
)
def test_a_damaged_history_is_named(content, damaged):
    (damaged / "history.csv").write_text(content)
    with pytest.raises(UserError, match="history.csv: expected a number in every column"):
        runs.read_history(damaged)


def test_the_state_of_another_network_is_named(data, damaged):
    learner = training.build_learner(config_of(data, damaged, alpha=0.5, recipe="modern"), steps=3)
    with pytest.raises(UserError, match="expected the state of this network"):
        training.go_on(config_of(data, damaged), pipeline.open_data(data), learner, *runs.read_state(damaged))


def test_too_little_memory_is_said_in_one_line(data, tmp_path, monkeypatch):
    def fails(*arguments, **settings):
        np.zeros(10**15)

    monkeypatch.setattr(training.Learner, "fit", fails)
    with pytest.raises(UserError, match="--batch 8 --size 32 --alpha .* needs more memory"):
        training.train(config_of(data, tmp_path / "run"))


def test_a_picture_that_went_away_after_the_start_is_named(data, tmp_path, monkeypatch):
    moved = shutil.copytree(data, tmp_path / "data")
    gone = next((moved / "train" / "red").iterdir())
    monkeypatch.setattr(training, "announce", lambda *said: gone.unlink())  # after all pictures were looked at
    with pytest.raises(UserError, match=f"{gone.name}: expected a whole image") as problem:
        training.train(config_of(moved, tmp_path / "run"))
    assert "\n" not in str(problem.value)


def test_another_error_of_a_backend_is_not_hidden(tmp_path):
    with pytest.raises(ZeroDivisionError), training.told_in_one_line(config_of("data", tmp_path)):
        raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["group", "value"])
def test_weights_of_an_odd_form_are_named(kind, tmp_path):
    path = tmp_path / "odd.weights.h5"
    with h5py.File(path, "w") as file:
        if kind == "group":
            file.create_group("layers/conv2d/vars/0")
        else:
            file["layers"] = 3
    with pytest.raises(UserError, match="expected Keras weights of a MobileNetV2"):
        runs.describe_weights(path)
