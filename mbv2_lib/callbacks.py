"""What happens between the steps of a training: progress is shown, and after each epoch the run is kept."""

import contextlib
import itertools
import shutil
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm  # not tqdm.auto, which leaves a widget for each epoch in a notebook's file

from mbv2_lib import evaluation, runs
from mbv2_lib.backend import keras
from mbv2_lib.files import UserError, whole_file


class KeepRun(keras.callbacks.Callback):
    """After each epoch: measure on the validation pictures, then write weights, history and, last, the state.

    validation: a `pipeline.Split`. batches: a function that gives training batches anew. done: epochs done before.
    """

    def __init__(self, config, validation, batches, done):
        super().__init__()
        self.config, self.validation, self.batches = config, validation, batches
        # A kill between history and state leaves a row of an epoch that is done again: it is dropped here.
        self.rows = [row for row in runs.read_history(config.run) if row["epoch"] <= done]

    def on_train_begin(self, logs=None):
        self.gatherer = Gatherer(self.model)  # one for all epochs: it is compiled once

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not np.isfinite(loss):
            rate = float(np.asarray(self.model.optimizer.learning_rate))
            kept = f"; the weights of the epoch before are kept in {self.config.run}" if self.rows else ""
            raise UserError(
                f"epoch {len(self.rows) + 1}: the loss is {loss} at a learning rate of {rate:.3g}{kept}; begin another "
                "--run with a lower --learning-rate or, on a GPU, with --precision float32"
            )

    def on_epoch_end(self, epoch, logs=None):
        run = Path(self.config.run)
        with averaged_weights(self.model, self.gatherer, self.batches):
            probabilities = self.model.predict_split(self.validation, self.config.batch)
            measured = evaluation.evaluate(probabilities, self.validation.labels)
            self.rows.append(self._row(epoch, logs, measured))
            runs.write_weights(run / "last.weights.h5", self.model.network)
        if epochs_since_best(self.rows) == 0:
            with whole_file(run / "best.weights.h5") as aside:
                shutil.copyfile(run / "last.weights.h5", aside)
        runs.write_history(run, self.rows)
        runs.write_state(run, len(self.rows), runs.state_of(self.model))
        self._say()
        if stops_early(self.config, self.rows):
            print(f"No better top-1 for {self.config.patience} epochs: stopped early")
            self.model.stop_training = True

    def _say(self):
        row = self.rows[-1]
        left = (self.config.epochs - row["epoch"]) * row["seconds"] / 60
        tqdm.write(
            f"epoch {row['epoch']}/{self.config.epochs}: loss {row['loss']:.3f}, held out: loss {row['val_loss']:.3f}, "
            f"top-1 {row['val_top1']:.2%}, top-5 {row['val_top5']:.2%}; {row['seconds']:.0f} s, {left:.0f} min left"
        )

    def _row(self, epoch, logs, measured):
        return {
            "epoch": epoch + 1,
            "loss": float(logs["loss"]),
            "top1": float(logs["top1"]),
            "val_loss": measured["loss"],
            "val_top1": measured["top1"],
            "val_top5": measured["top5"],
            "learning_rate": float(np.asarray(self.model.optimizer.learning_rate)),
            "seconds": round(time.monotonic() - self.started, 2),
        }


def epochs_since_best(rows):
    """Epochs since the highest validation top-1; the first of equals counts."""
    scores = [row["val_top1"] for row in rows]
    return len(scores) - 1 - scores.index(max(scores))


def stops_early(config, rows):
    """Whether the run is over since it got no better for as many epochs as `config.patience`."""
    return bool(rows and config.patience) and epochs_since_best(rows) >= config.patience


class Gatherer(keras.Model):
    """A learner that answers as in training: its normalizations gather statistics, and its weights stand still."""

    def __init__(self, learner):
        super().__init__(name="gatherer")
        self.learner = learner
        self.built = True
        self.supports_jit = learner.supports_jit

    def call(self, inputs):
        return self.learner(inputs, training=True)

    def gather(self, batches, steps=40):
        """Bring the statistics up to the weights, with the first `steps` of the batches: 40 leave 1.5 % of the old."""
        self.predict(((inputs,) for inputs, _ in itertools.islice(batches, steps)), steps=steps, verbose=0)


@contextlib.contextmanager
def averaged_weights(learner, gatherer, batches):
    """Inside, `learner` holds the moving average of its weights, where its optimizer keeps one.

    The statistics of its batch normalizations belong to the weights as they were: with the averaged ones, a network
    in the middle of its training answers at chance. They are gathered anew over a few training batches, which
    `batches()` gives, and put back at the end.
    """
    if not learner.optimizer.use_ema:
        yield
        return
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(learner)
    statistics = [np.asarray(variable) for variable in learner.non_trainable_variables]
    swap.on_test_begin()
    try:
        gatherer.gather(batches())
        yield
    finally:
        swap.on_test_end()
        for variable, value in zip(learner.non_trainable_variables, statistics, strict=True):
            variable.assign(value)


class Progress(keras.callbacks.Callback):
    """How far an epoch is, with its rate and the time left: a bar, or a line a minute where there is no terminal."""

    def __init__(self, steps, epochs):
        super().__init__()
        self.steps, self.epochs = steps, epochs
        self.bar = None

    def on_epoch_begin(self, epoch, logs=None):
        self.bar = tqdm(
            total=self.steps, desc=f"epoch {epoch + 1}/{self.epochs}", unit="batch", leave=False, disable=None
        )
        self.started = self.said = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update(batch + 1 - self.bar.n)  # a GPU does several between two calls
        now = time.monotonic()
        if self.bar.disable and now - self.said > 60:
            rate = (batch + 1) / (now - self.started)
            left = (self.steps - batch - 1) / rate / 60
            print(f"  batch {batch + 1} of {self.steps}, {rate:.1f} a second, {left:.0f} min left", flush=True)
            self.said = now

    def on_epoch_end(self, epoch, logs=None):
        self.close()

    def close(self):
        """Take the bar away, also where an error ends the epoch: its line would begin behind the bar."""
        if self.bar is not None:
            self.bar.close()
