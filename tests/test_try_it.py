"""Every sample and every kind of upload, driven through the widget: a picture or a sentence, never a traceback."""

import datetime
import io
import itertools
import subprocess
import sys

import cv2
import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image, ImageOps

from mbv2_lib import drawings, shapes100, try_it
from mbv2_lib.inference import PortableModel

CLASSES = ["apple", "oak_tree", "<b>", "a $\\frac$ of", "e", "f", "a_name_that_is_far_too_long_for_any_bar_of_a_figure"]
WEIGHTS = np.random.default_rng(0).normal(0, 3, (3, len(CLASSES)))
SAMPLES = {f"sample {place}": picture for place, picture in enumerate(shapes100.draw(1)[0][:12])}


def answer(picture, weights):
    """What the models below say of (1, h, w, 3): a softmax over the mean colour."""
    values = np.exp(picture.mean(axis=(1, 2)) / 255 @ weights)
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def model(size, weights):
    return PortableModel({"classes": CLASSES, "size": size}, lambda picture: answer(picture, weights))


MODELS = {"float32": model(32, WEIGHTS), "int8": model(32, WEIGHTS.round())}


@pytest.fixture
def explorer():
    return try_it.picture_explorer(MODELS, SAMPLES)


def upload(explorer, data, name="picture.png"):
    """What the browser sends when a reader has chosen a file."""
    when = datetime.datetime.now(datetime.UTC)
    one = {"name": name, "type": "image/png", "size": len(data), "content": memoryview(data), "last_modified": when}
    explorer.controls["upload"].value = (one,)


def shown(explorer):
    return cv2.imdecode(np.frombuffer(explorer.picture.value, np.uint8), cv2.IMREAD_COLOR)


def saved(image, form="PNG", **settings):
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def noise(height, width, channels=3):
    return np.random.default_rng(height).integers(0, 256, (height, width, channels), np.uint8)


def likeliest(picture, weights):
    """The answer counted another way: the class of the largest score, without a softmax."""
    return CLASSES[int(np.argmax(picture.reshape(-1, 3).mean(axis=0) @ weights))]


# -- samples -----------------------------------------------------------------------------------------------------------


def test_every_sample_is_shown_with_both_answers(explorer):
    size = shown(explorer).shape
    for title in [*list(SAMPLES)[1:], list(SAMPLES)[0]]:
        before = explorer.picture.value
        explorer.controls["sample"].value = title
        assert explorer.picture.value != before and shown(explorer).shape == size
        for name, weights in (("float32", WEIGHTS), ("int8", WEIGHTS.round())):
            name_of_it = likeliest(SAMPLES[title], weights).replace("_", " ")
            expected = name_of_it.replace("<", "&lt;").replace(">", "&gt;")
            assert f"{name} says {expected}, " in explorer.words.value and title in explorer.words.value


def test_the_five_likeliest_come_with_their_probabilities_and_times():
    found = try_it.ask(MODELS, SAMPLES["sample 3"], "it")
    assert [one.model for one in found.answers] == ["float32", "int8"] and not found.problem
    for one, weights in zip(found.answers, (WEIGHTS, WEIGHTS.round()), strict=True):
        scores = SAMPLES["sample 3"].reshape(-1, 3).mean(axis=0) / 255 @ weights
        order = sorted(range(len(CLASSES)), key=lambda place, scores=scores: -scores[place])[:5]
        assert [name for name, _ in one.top] == [CLASSES[place] for place in order]
        expected = np.exp(scores[order]) / np.exp(scores).sum()
        assert [share for _, share in one.top] == pytest.approx(expected.tolist(), rel=1e-5)
        assert one.milliseconds > 0


def test_models_of_two_sizes_are_each_fed_with_their_own():
    sizes = []
    models = {
        side: PortableModel({"classes": CLASSES, "size": side}, lambda fed: sizes.append(fed.shape) or np.eye(7)[:1])
        for side in (16, 48)
    }
    try_it.ask(models, noise(20, 30), "it")
    assert set(sizes) == {(1, 16, 16, 3), (1, 48, 48, 3)}


# -- uploads -----------------------------------------------------------------------------------------------------------


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif, "quality": 95}


SMOOTH = Image.fromarray(cv2.GaussianBlur(noise(24, 40), (0, 0), 3))
KINDS = {
    "wide": (Image.fromarray(noise(20, 900)), "PNG", {}),
    "tall": (Image.fromarray(noise(900, 20)), "PNG", {}),
    "one pixel": (Image.fromarray(noise(1, 1)), "PNG", {}),
    "grey": (Image.fromarray(noise(40, 50)[..., 0]), "PNG", {}),
    "bitmap": (Image.fromarray(noise(40, 50)), "BMP", {}),
    "palette": (Image.fromarray(noise(40, 50)).quantize(8), "PNG", {}),
    "transparent": (Image.fromarray(noise(40, 50, 4), "RGBA"), "PNG", {}),
    "transparent colour": (Image.fromarray(noise(40, 50)).quantize(8), "PNG", {"transparency": 3}),
    "photograph": (SMOOTH, "JPEG", {"quality": 95}),
    **{f"turned {orientation}": (SMOOTH, "JPEG", turned(orientation)) for orientation in range(2, 9)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_of_any_kind_is_shown_upright_and_opaque(explorer, kind):
    image, form, settings = KINDS[kind]
    before, size = explorer.picture.value, shown(explorer).shape
    upload(explorer, data := saved(image, form, **settings), kind)
    assert explorer.picture.value != before and shown(explorer).shape == size
    assert f">{kind}: float32 says " in explorer.words.value
    whole = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    expected = np.asarray(Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB"))
    found = explorer.compute(**explorer.values())
    assert found.picture.shape == expected.shape and np.abs(found.picture.astype(int) - expected).max() <= 4
    assert found.seen.shape == (32, 32, 3)


BROKEN = {
    "empty": b"",
    "words": b"not a picture",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
    "phone.heic": b"\x00\x00\x00\x18ftypheic" + bytes(200),
    "moving.gif": saved(Image.fromarray(noise(9, 9)), "GIF"),
    "cut.png": saved(Image.fromarray(noise(30, 30)))[:300],
    "cut.jpg": saved(SMOOTH, "JPEG")[:-60],
    "endless.png": (whole := saved(Image.fromarray(noise(30, 30))))[:20] + b"\x7f\xff\xff\xff" + whole[24:],
    "zeros.png": whole[:16] + bytes(60) + whole[76:],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_upload_gets_a_sentence_and_the_next_picture_an_answer(explorer, name, capfd):
    size = shown(explorer).shape
    upload(explorer, BROKEN[name], name)
    assert f"{name}: expected a whole image, found that it " in explorer.words.value
    assert "says" not in explorer.words.value and shown(explorer).shape == size
    assert capfd.readouterr().err == ""
    upload(explorer, saved(SMOOTH, "JPEG"), "a good one")
    assert "a good one: float32 says" in explorer.words.value


def test_a_file_name_is_text_and_nothing_else(explorer):
    for data in (saved(SMOOTH, "JPEG"), b"broken"):
        upload(explorer, data, "<img onerror=x> $\\frac$.jpg")
        assert "&lt;img onerror=x&gt; $\\frac$.jpg" in explorer.words.value and "<img" not in explorer.words.value


def test_an_upload_and_a_sample_change_places(explorer):
    sample = explorer.controls["sample"]
    upload(explorer, saved(SMOOTH, "JPEG"), "mine.jpg")
    assert sample.value == try_it.UPLOADED and "mine.jpg: " in explorer.words.value
    sample.value = "sample 5"
    assert "sample 5: " in explorer.words.value
    sample.value = try_it.UPLOADED
    assert "mine.jpg: " in explorer.words.value
    upload(explorer, saved(SMOOTH, "JPEG"), "another.jpg")
    assert "another.jpg: " in explorer.words.value


def test_a_new_file_is_looked_at_once(explorer, monkeypatch):
    asked = []
    ask = try_it.ask_about_file
    monkeypatch.setattr(try_it, "ask_about_file", lambda *given: asked.append(given) or ask(*given))
    for count, name in enumerate(("first.png", "second.png"), start=1):
        upload(explorer, saved(SMOOTH), name)
        assert len(asked) == count and f"{name}: " in explorer.words.value


def test_without_an_upload_the_list_says_how_to_make_one(explorer):
    explorer.controls["sample"].value = try_it.UPLOADED
    assert "Nothing is uploaded yet: press Upload" in explorer.words.value


# -- the drawing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height, width", [(20, 900), (900, 20), (1, 1), (32, 32), (2000, 1500)])
def test_a_picture_keeps_its_proportions_in_its_square(height, width):
    square = drawings.in_square(np.zeros((height, width, 3), np.uint8), 180)
    rows, columns = np.nonzero((square == 0).all(axis=2))
    extent = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert square.shape == (180, 180, 3) and max(extent) == 180
    assert min(extent) == pytest.approx(180 * min(height, width) / max(height, width), abs=1)
    assert abs((rows.min() + rows.max()) / 2 - 89.5) <= 0.5 and abs((columns.min() + columns.max()) / 2 - 89.5) <= 0.5


def test_no_label_leaves_the_page_or_hides_another():
    sure = {name: [(CLASSES[-1], 1.0), *[(CLASSES[place], 0.0) for place in range(4)]] for name in MODELS}
    answers = tuple(try_it.Answer(name, top, 12345.678) for name, top in sure.items())
    for found in (try_it.Tried("it", noise(2000, 1999), noise(224, 224), answers), try_it.Tried("it", problem="x")):
        page = drawings.tried(found)
        drawings.png(page)
        boxes = [Outline(path.vertices).get_extents() for _, path in page.labels]
        assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= page.bbox.x1 and b.y1 <= page.bbox.y1 for b in boxes)
        for one, other in itertools.combinations(boxes, 2):
            across, along = (
                min(getattr(one, f"{axis}1"), getattr(other, f"{axis}1"))
                - max(getattr(one, f"{axis}0"), getattr(other, f"{axis}0"))
                for axis in "xy"
            )
            assert across <= 0 or along <= 0


def test_it_does_without_tensorflow():
    program = "import sys, mbv2_lib.try_it; print({'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_two_models_agree_where_their_likeliest_classes_do():
    one, other = (try_it.Answer(name, [(found, 1.0)], 1.0) for name, found in (("float32", "a"), ("int8", "b")))
    assert try_it.words(try_it.Tried("it", answers=(one, one))).endswith("They agree.")
    assert try_it.words(try_it.Tried("it", answers=(one, other))).endswith("They disagree.")
