"""Try exported models on a picture of your own: upload a file, or pick a sample. No TensorFlow is needed."""

from html import escape
from typing import NamedTuple

import numpy as np
from ipywidgets import Dropdown, FileUpload, Layout

from mbv2_lib import drawings, inference, pictures
from mbv2_lib.explorers import LOOKS, Explorer
from mbv2_lib.files import UserError
from mbv2_lib.plots import spaced
from mbv2_lib.quiet import quiet

UPLOADED = "my own picture"  # stands in the list of samples for what was uploaded


class Answer(NamedTuple):
    """What one model says of a picture: its likeliest classes as (name, probability), and the time that it took."""

    model: str
    top: list
    milliseconds: float


class Tried(NamedTuple):
    """A picture and the models' answers; where there is no picture, `problem` is a sentence that says why."""

    title: str
    picture: np.ndarray | None = None  # uint8 RGB (h, w, 3)
    seen: np.ndarray | None = None  # the same, fitted to the square that the models take
    answers: tuple = ()
    problem: str = ""


def ask(models, picture, title):
    """What the models, a dict of name to `inference.PortableModel`, say of a uint8 RGB picture (h, w, 3)."""
    answers = []
    for name, model in models.items():
        seen = pictures.fit(picture, model.size)
        probabilities = model.predict(seen[None])[0]
        milliseconds = inference.latency(lambda run=model.run, seen=seen[None]: run(seen), repeats=9, warm_up=2)
        answers.append(Answer(name, inference.top(probabilities, model.classes), milliseconds))
    return Tried(title, picture, seen, tuple(answers))


def ask_about_file(models, data, title):
    """The same of a picture file's bytes: JPEG, PNG or BMP of any size. What is no picture is told in `problem`."""
    try:
        with quiet():  # decoders have words of their own for a damaged file
            picture = pictures.decode(data, title)
    except UserError as problem:
        return Tried(title, problem=str(problem))
    return ask(models, picture, title)


def words(found):
    """What `drawings.tried` shows."""
    if found.problem:
        return escape(found.problem)
    lines = [
        f"{answer.model} says {escape(spaced(answer.top[0][0]))}, {answer.top[0][1]:.1%} sure, in "
        f"{answer.milliseconds:.2f} ms"
        for answer in found.answers
    ]
    told = f"{escape(found.title)}: {'; '.join(lines)}."
    likeliest = {answer.top[0][0] for answer in found.answers}
    return f"{told}<br>They {'agree' if len(likeliest) == 1 else 'disagree'}."


def picture_explorer(models, samples):
    """Upload a picture, or pick a sample, and see the top five of each model with its time.

    models: dict of name to `inference.PortableModel`, two of them; samples: dict of title to uint8 RGB (h, w, 3).
    """
    controls = {
        "sample": Dropdown(
            options=[*samples, UPLOADED], description="Picture", tooltip="A sample, or your own picture", **LOOKS
        ),
        "upload": FileUpload(
            accept="image/*", description="Upload", tooltip="A JPEG, PNG or BMP file of any size", layout=Layout()
        ),
    }

    def compute(sample, upload):
        if sample != UPLOADED:
            return ask(models, samples[sample], sample)
        if not upload:
            return Tried(sample, problem="Nothing is uploaded yet: press Upload, and choose a picture file.")
        return ask_about_file(models, bytes(upload[0]["content"]), upload[0]["name"])

    explorer = Explorer(controls, compute, drawings.tried, words)

    def show(change):
        if controls["sample"].value == UPLOADED:
            explorer.renew()
        else:
            controls["sample"].value = UPLOADED  # which renews

    # In place of the explorer's own look at it, which would come second and ask all models twice.
    controls["upload"].unobserve(explorer.renew, names="value")
    controls["upload"].observe(show, names="value")
    return explorer
