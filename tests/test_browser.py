"""A reader's hand on the sliders: notebooks in JupyterLab, in a real browser, with mouse and keyboard.

Skipped, with a line that says why, where there is no Chromium; MBV2_BROWSER_REQUIRED=1 makes that an error.
MBV2_SCREENSHOTS=FOLDER keeps the pictures of the two explorers that README.md shows.
"""

import os
import re
import time
from pathlib import Path

import browser as browsing
import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
WHOLE = ("01", "02")  # notebooks that are run here cell by cell; nbval runs all, and EXPLORERS has every slider
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def chromium():
    reason = browsing.missing()
    if reason and browsing.REQUIRED:
        pytest.fail(f"MBV2_BROWSER_REQUIRED=1, but {reason}")
    if reason:
        pytest.skip(reason)
    with browsing.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory):
    """The address of a JupyterLab over a copy of the notebooks."""
    root, home = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("home")
    browsing.copy_of_the_notebooks(ROOT, root)
    with browsing.jupyter_lab(root, home) as address:
        yield address


@pytest.fixture(scope="module")
def all_explorers(chromium, lab):
    """The notebook with all explorers, run."""
    notebook = browsing.LabPage(chromium, lab.format(browsing.ALL_EXPLORERS))
    notebook.run_all()
    yield notebook
    notebook.close()


@pytest.mark.parametrize("number", WHOLE)
def test_a_notebook_runs_and_its_sliders_answer(chromium, lab, number):
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    notebook = browsing.LabPage(chromium, lab.format(f"notebooks/{path.name}"))
    notebook.run_all()
    assert notebook.errors() == []
    cells = notebook.explorers()
    assert cells, "no cell with an explorer"
    for cell in cells:
        expect_a_move_to_show(notebook, notebook.explorer(cell))
    assert notebook.errors() == []
    notebook.close()


@pytest.mark.parametrize("name", browsing.EXPLORERS)
def test_a_move_shows_and_the_page_stays(all_explorers, name):
    assert all_explorers.errors() == []
    expect_a_move_to_show(all_explorers, all_explorers.explorer(browsing.CELLS[name]))


def expect_a_move_to_show(notebook, explorer):
    """Move the first control: new words, a new picture in the same element, and nothing else on the page moves."""
    element, place, height = explorer.picture.element_handle(), explorer.place_of_picture(), notebook.height()
    for move in moves_of(explorer):
        before = explorer.words.inner_text(), explorer.picture.get_attribute("src")
        move()
        after = explorer.words.inner_text(), explorer.picture.get_attribute("src")
        assert before[0] != after[0] and before[1] != after[1]
        assert explorer.picture.evaluate("(picture, before) => picture === before", element)
        assert explorer.place_of_picture() == place
        assert notebook.height() == height
    assert element.evaluate("picture => picture.naturalWidth") > 600


def moves_of(explorer):
    """Two moves by hand: keyboard and mouse, or two choices from a list."""
    names = explorer.sliders()
    if names:
        at_the_end = explorer.slider(names[0]).evaluate("it => it.ariaValueNow == it.ariaValueMax")
        yield lambda: explorer.press(names[0], "ArrowLeft" if at_the_end else "ArrowRight")
        yield lambda: explorer.click(names[0], 0.5)
    else:
        options = explorer.place.get_by_role("option").all_inner_texts()
        name = explorer.lists()[0]
        yield lambda: explorer.choose(name, options[1])
        yield lambda: explorer.choose(name, options[-1])


def test_a_picture_file_is_uploaded_and_answered_and_a_broken_one_gets_a_sentence(all_explorers, tmp_path):
    explorer = all_explorers.explorer(browsing.CELLS["picture"])
    picture, broken = tmp_path / "mine.png", tmp_path / "broken.png"
    picture.write_bytes(cv2.imencode(".png", np.full((30, 90, 3), (10, 60, 200), np.uint8))[1].tobytes())
    broken.write_bytes(picture.read_bytes()[:60])
    for path, expected in ((picture, "mine.png: float32 says "), (broken, "broken.png: expected a whole image, found")):
        explorer.upload("Upload", path)
        assert expected in explorer.words.inner_text()
        assert explorer.place.get_by_role("combobox", name="Picture").input_value() == "my own picture"
    assert all_explorers.errors() == []
    explorer.choose("Picture", "gold")
    assert "gold: float32 says" in explorer.words.inner_text()


def test_controls_have_names_and_say_where_they_stand(all_explorers):
    network = all_explorers.explorer(browsing.CELLS["network"])
    assert network.sliders() == ["Width", "Expansion", "Resolution", "Classes"]
    assert network.slider("Classes").get_attribute("aria-valuetext") == "1000"
    network.press("Width", "Home")
    assert network.slider("Width").get_attribute("aria-valuetext") == "0.35"
    network.press("Width", "ArrowRight")
    assert network.slider("Width").get_attribute("aria-valuetext") == "0.40"
    assert "Width 0.40" in network.words.inner_text()
    assert all_explorers.explorer(browsing.CELLS["mistake"]).place.get_by_role("combobox", name="Class").count() == 1


def test_a_press_writes_a_command_into_a_field_with_a_name(all_explorers):
    design = all_explorers.explorer(browsing.CELLS["design"])
    design.press("MAdds", "End")
    field = design.place.get_by_role("textbox", name="Command", exact=True)
    design.place.get_by_role("button", name="Write the command").click()
    all_explorers.page.wait_for_function(
        "field => field.value.startsWith('mbv2 train')", arg=field.element_handle(), timeout=20 * browsing.SECONDS
    )


def test_arrow_keys_stay_with_the_slider(all_explorers):
    block = all_explorers.explorer(browsing.CELLS["block"])
    start = block.slider("Expansion").get_attribute("aria-valuenow")
    for key in ("ArrowRight", "ArrowLeft", "ArrowRight", "ArrowLeft"):
        block.press("Expansion", key)
        assert block.slider("Expansion").evaluate("handle => handle === document.activeElement")
    assert block.slider("Expansion").get_attribute("aria-valuenow") == start


def test_dragging_ends_on_what_the_slider_says(all_explorers):
    network = all_explorers.explorer(browsing.CELLS["network"])
    network.press("Width", "Home")
    network.drag("Width", 0.0, 0.6)
    all_explorers.page.wait_for_function(
        "([place, slider]) => place.innerText.includes('Width ' + slider.ariaValueText)",
        arg=[network.words.element_handle(), network.slider("Width").element_handle()],
        timeout=20 * browsing.SECONDS,
    )
    assert float(network.slider("Width").get_attribute("aria-valuenow")) > 0.8


def test_a_move_is_timed_from_the_hand_to_the_picture(all_explorers):
    """How long a move takes, `make bench` says. That its clock runs while the picture is computed, is shown here."""
    slow = all_explorers.explorer(browsing.CELLS["slow"])
    start = time.perf_counter()
    took = slow.press("Stride", "ArrowRight")
    assert browsing.SLOW <= took / browsing.SECONDS <= time.perf_counter() - start


def test_the_benchmark_times_moves_of_sliders_and_of_lists(all_explorers, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import browser_latency

    monkeypatch.setattr(browser_latency, "NAMES", ["network", "mistake"])
    rows = re.findall(
        r"^\| (\w+) \| (\S+) \((\S+) to (\S+)\) \| (\d+) \|$", browser_latency.measured(all_explorers, 1), re.M
    )
    assert [name for name, *_ in rows] == ["network", "mistake", "all"]
    for _, *figures in rows:
        middle, least, most, late = (float(figure.replace(",", "")) for figure in figures)
        assert 0 < least <= middle <= most and 0 < late <= most + 1  # both rounded


@pytest.mark.skipif("MBV2_SCREENSHOTS" not in os.environ, reason="MBV2_SCREENSHOTS names no folder")
@pytest.mark.parametrize("name", ["block", "network"])
def test_screenshots_are_light(chromium, lab, name):
    notebook = browsing.LabPage(chromium, lab.format(browsing.ALL_EXPLORERS))
    notebook.run_all()
    path = Path(os.environ["MBV2_SCREENSHOTS"]) / f"{name}_explorer.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook.explorer(browsing.CELLS[name]).place.screenshot(path=path)
    notebook.close()
    assert path.stat().st_size <= 150_000
