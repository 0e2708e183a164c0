"""A picture of a run that grows while the network trains: one widget that is renewed, in place of a line an epoch."""

import sys
import time
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from html import escape
from io import StringIO

from mbv2_lib import drawings, plots, runs
from mbv2_lib.backend import keras

SECONDS = 1.0  # from one picture to the next, at least: drawing takes a twentieth of that


class LivePlot(keras.callbacks.Callback):
    """Draws loss and accuracy of the run of a TrainConfig while it trains, and says below what it last printed.

        with LivePlot(config) as plot:
            training.train(config, callbacks=[plot])

    Epochs of a run that is resumed are drawn, too. Where there is no notebook, everything is printed as ever.
    """

    def __init__(self, config):
        super().__init__()
        self.config, self.picture, self.training = config, None, False
        self.steps, self.drawn = [], 0.0

    def __enter__(self):
        self.before, self.redirected = sys.stdout, ExitStack()
        if in_a_notebook():
            self.show()
            self.redirected.enter_context(redirect_stdout(self))
            errors = StringIO()
            errors.write = self.say  # what is written to standard error is told below the picture
            self.redirected.enter_context(redirect_stderr(errors))
        return self

    def __exit__(self, *error):
        self.redirected.close()

    def show(self):
        """Put the widgets on the page: a picture of fixed size, so that nothing jumps, and a line below it."""
        from IPython.display import display
        from ipywidgets import HTML, Layout, VBox

        from mbv2_lib.explorers import Picture

        figure = plots.progress([], [], self.config.epochs)
        width, height = (int(length * figure.dpi) for length in figure.get_size_inches())
        looks = Layout(width=f"{width}px", height=f"{height}px", max_width="100%", object_fit="contain")
        tooltip = "Loss and accuracy so far; the line below says their end"
        self.picture = Picture(layout=looks, tooltip=tooltip)
        self.words = HTML(layout=Layout(min_height="3.2em"))
        self.draw()
        display(VBox([self.picture, self.words]))

    def write(self, text):
        """Take what is printed: before the first step it goes where it always goes, afterwards below the picture."""
        return self.say(text) if self.training else self.before.write(text)

    def say(self, text):
        if text.strip():
            self.words.value = f'<div role="status" aria-live="polite">{escape(text.strip())}</div>'
        return len(text)

    def flush(self):
        self.before.flush()

    def on_train_begin(self, logs=None):
        self.training = True

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.picture is not None and time.monotonic() - self.drawn > SECONDS:
            done = self.epoch + (batch + 1) / self.params["steps"]
            self.steps.append({"epoch": done, "loss": float(logs["loss"]), "top1": float(logs["top1"])})
            self.draw()
            if self.epoch == 0:
                self.say(f"epoch 1/{self.config.epochs}: batch {batch + 1} of {self.params['steps']}")

    def on_epoch_end(self, epoch, logs=None):
        self.steps = []  # from here on the whole epoch's mean stands for them
        self.draw()

    def draw(self):
        """Renew the picture, where there is one."""
        if self.picture is not None:
            history = runs.read_history(self.config.run)
            self.picture.value = drawings.png(plots.progress(history, self.steps, self.config.epochs))
            self.drawn = time.monotonic()


def in_a_notebook():
    """Whether a Jupyter kernel runs this."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None
