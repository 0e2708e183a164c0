"""A picture grows as a network trains: it keeps its place and its size, and leaves no line an epoch in a notebook."""

import sys

import cv2
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from mbv2_lib import drawings, live, plots, runs
from mbv2_lib.config import TrainConfig

STEPS = 5


@pytest.fixture
def config(tmp_path):
    return TrainConfig(classes=4, run=str(tmp_path / "run"), epochs=3)


@pytest.fixture
def shown(monkeypatch):
    """A notebook, as far as the plot can see: the list of what it displays there."""
    displayed = []
    monkeypatch.setattr(live, "in_a_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", displayed.append)
    return displayed


def train(plot, epochs, first=0):
    """What Keras and KeepRun do in so many epochs, without a network; yields after each step and each epoch."""
    plot.set_params({"steps": STEPS})
    plot.on_train_begin()
    for epoch in range(first, epochs):
        plot.on_epoch_begin(epoch)
        for batch in range(STEPS):
            plot.on_train_batch_end(batch, {"loss": 3.0 - batch / 10, "top1": batch / 20})
            yield
        shown = {"epoch": epoch + 1, "loss": 2.0, "top1": 0.5, "val_loss": 2.5, "val_top1": 0.4}
        row = dict.fromkeys(runs.COLUMNS, 0.0) | shown
        runs.write_history(plot.config.run, [*runs.read_history(plot.config.run), row])
        print(f"epoch {epoch + 1} is done")
        plot.on_epoch_end(epoch)
        yield
    plot.on_train_end()


def pixels(plot):
    return cv2.imdecode(np.frombuffer(plot.picture.value, np.uint8), cv2.IMREAD_COLOR)


def test_it_grows_in_one_place_and_keeps_its_size(config, shown, monkeypatch):
    monkeypatch.setattr(live, "SECONDS", 0)
    with live.LivePlot(config) as plot:
        pictures = [pixels(plot), *(pixels(plot) for _ in train(plot, epochs=3))]
    assert len(shown) == 1
    assert {picture.shape for picture in pictures} == {pictures[0].shape}
    height, width, _ = pictures[0].shape
    assert (plot.picture.layout.width, plot.picture.layout.height) == (f"{width}px", f"{height}px")
    assert all((one != other).any() for one, other in zip(pictures[:-1], pictures[1:], strict=True))


def test_between_epochs_it_is_drawn_once_a_second_at_most(config, shown, monkeypatch):
    monkeypatch.setattr(live, "SECONDS", 1000)
    with live.LivePlot(config) as plot:
        values = [plot.picture.value for _ in train(plot, epochs=2)]
    assert len(set(values)) == 3  # before the first epoch, after it, and after the second


def test_what_is_printed_stands_below_the_picture_once_it_trains(config, shown, capsys):
    with live.LivePlot(config) as plot:
        print("Training on cpu:0")
        print("a bar", file=sys.stderr)
        assert "a bar" in plot.words.value
        for _ in train(plot, epochs=2):
            pass
        print("a < b")
    printed = capsys.readouterr()
    assert printed.out == "Training on cpu:0\n" and printed.err == ""
    assert "a &lt; b" in plot.words.value and "epoch" not in plot.words.value


def test_in_the_first_epoch_it_says_how_far_it_is(config, shown, monkeypatch):
    monkeypatch.setattr(live, "SECONDS", 0)
    with live.LivePlot(config) as plot:
        steps = train(plot, epochs=1)
        for _ in range(4):
            next(steps)
        assert f"epoch 1/3: batch 4 of {STEPS}" in plot.words.value


def test_a_resumed_run_shows_the_epochs_before_it(config, shown):
    with live.LivePlot(config) as plot:
        empty = pixels(plot)
        for _ in train(plot, epochs=2):
            pass
    with live.LivePlot(config) as again:
        next(train(again, epochs=3, first=2))
        assert (pixels(again) != empty).any()


def test_a_run_that_is_done_shows_its_epochs(config, shown):
    with live.LivePlot(config) as plot:
        for _ in train(plot, epochs=3):
            pass
    with live.LivePlot(config) as again:  # nothing is trained
        pass
    assert again.picture.value == drawings.png(plots.progress(runs.read_history(config.run), [], 3))


def test_an_error_in_training_is_printed_where_it_always_is(config, shown):
    before = sys.stdout, sys.stderr
    with pytest.raises(ValueError), live.LivePlot(config):
        assert (sys.stdout, sys.stderr) != before
        raise ValueError
    assert (sys.stdout, sys.stderr) == before


def test_without_a_notebook_everything_is_printed(config, capsys):
    with live.LivePlot(config) as plot:
        for _ in train(plot, epochs=2):
            pass
    assert plot.picture is None
    assert capsys.readouterr().out == "epoch 1 is done\nepoch 2 is done\n"


TRAINING = """
import numpy as np
from mbv2_lib import architecture, folders, live, runs, training
from mbv2_lib.config import TrainConfig

architecture.ROWS = architecture.ROWS[:2]  # quickly traced
labels = np.repeat(np.arange(2), 8)
pictures = np.zeros((16, 32, 32, 3), "uint8")
pictures[labels == 1] = 255
splits = {"train": (pictures, labels), "validation": (pictures[::4], labels[::4])}
folders.write_folders("data", splits, ["black", "white"], size=32, progress=False)
config = TrainConfig(classes=2, data="data", run="run", size=32, batch=8, epochs=3, alpha=0.35, expansion=1)
with live.LivePlot(config) as plot:
    training.train(config, callbacks=[plot])
"""


@pytest.mark.timeout(300)
def test_a_training_leaves_one_widget_and_two_lines_in_a_notebook(tmp_path):
    cell = new_code_cell(TRAINING)
    client = NotebookClient(new_notebook(cells=[cell]), resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    (widget,) = (output for output in cell.outputs if output.output_type == "display_data")
    assert "application/vnd.jupyter.widget-view+json" in widget.data
    (stream,) = (output for output in cell.outputs if output.output_type == "stream")
    assert stream.name == "stdout"
    about_data, about_device = stream.text.splitlines()
    assert "16 training pictures, 4 held out" in about_data
    assert about_device.startswith("Training with ")
