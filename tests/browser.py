"""JupyterLab and a browser for tests and a benchmark: both started here, in folders of their own, and ended here."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REQUIRED = os.environ.get("MBV2_BROWSER_REQUIRED") == "1"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SECONDS = 1000  # as many of Playwright's units
ALL_EXPLORERS = "notebooks/explorers.ipynb"  # made here: a cell that prepares, one for each explorer, and a slow one
EXPLORERS = {
    "block": "explorers.block_explorer()",
    "network": "explorers.network_explorer()",
    "relu": "explorers.relu_explorer()",
    "resize": "explorers.resize_explorer(pictures[0])",
    "mistake": "explorers.mistake_explorer(pictures, labels, probabilities, shapes100.CLASSES)",
    "quantization": "explorers.quantization_explorer(kernel)",
    "picture": "try_it.picture_explorer(models, samples)",
    "design": "explorers.design_explorer()",
}
PREPARATION = """
import numpy as np

from mbv2_lib import explorers, shapes100, try_it
from mbv2_lib.inference import PortableModel

pictures, labels = shapes100.draw(10)
probabilities = np.random.default_rng(0).dirichlet(np.full(100, 0.05), len(labels))
kernel = np.random.default_rng(0).standard_normal((3, 3, 96)) * np.geomspace(0.02, 1, 96)
described = {"classes": ["red", "green", "blue"], "size": 32}
colours = PortableModel(described, lambda picture: picture.mean(axis=(1, 2)) / picture.mean(axis=(1, 2)).sum())
models = {"float32": colours, "int8": colours}
samples = {"gold": np.full((9, 9, 3), (212, 175, 55), np.uint8), "forest": np.full((9, 9, 3), (34, 139, 34), np.uint8)}
"""
SLOW = 0.5  # seconds that the slow explorer takes to compute
SLOW_EXPLORER = f"""
import time

def slowly(stride):
    time.sleep({SLOW})
    return explorers.compare_blocks(strides=stride)

strides = {{"stride": explorers.whole("Stride", "", 1, 1, 2)}}
explorers.Explorer(strides, slowly, explorers.drawings.block, explorers.block_words)
"""
CELLS = {name: cell for cell, name in enumerate([*EXPLORERS, "slow"], start=1)}  # in ALL_EXPLORERS


def missing():
    """Why no browser can be driven here, in one line; None where one can."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed: make test installs it"
    return None if CHROMIUM else "no chromium on the PATH: apt-get install chromium"


@contextmanager
def chromium():
    """A headless Chromium, ended with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def jupyter_lab(root, home):
    """Yield the address (with {} for a notebook's path) of a JupyterLab over the folder `root`, ended with the block.

    All that it writes beside the notebooks stands under `home`: nothing of the user's settings is read or changed.
    """
    port, token = _free_port(), secrets.token_hex(16)
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    places = {f"JUPYTER_{what}_DIR": str(home / what.lower()) for what in ("CONFIG", "RUNTIME", "DATA")}
    places |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTERLAB_SETTINGS_DIR": str(home / "settings")}
    places |= {"JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"), "MBV2_DATA": "shapes100", "MBV2_SIZE": "laptop"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += [f"--ServerApp.root_dir={root}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    log = home / "jupyterlab.log"
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=root, env={**os.environ, **places})
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/api?token={token}", server, log)
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?reset&token={token}"  # without what a page before had open
    finally:
        server.terminate()  # its kernels end with it
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_it_answers(address, server, log, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


def copy_of_the_notebooks(source, root):
    """Lay notebooks/, ALL_EXPLORERS and a link to the data under `root`: a run changes nothing in the repository."""
    shutil.copytree(source / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (root / "data").symlink_to(source / "data")
    (root / "runs").mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = map(new_code_cell, [PREPARATION.strip(), *EXPLORERS.values(), SLOW_EXPLORER.strip()])
    nbformat.write(new_notebook(cells=list(cells), metadata=kernel), root / ALL_EXPLORERS)


class LabPage:
    """A notebook open in JupyterLab, moved as a reader moves it: by the menu, the mouse and the keyboard."""

    def __init__(self, browser, address):
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.goto(address)
        path = urllib.parse.urlsplit(address).path.removeprefix("/lab/tree/")
        ready = f"{NOTEBOOK}?.context?.path == '{path}' && {NOTEBOOK}.sessionContext.session?.kernel?.status == 'idle'"
        self.page.wait_for_function(ready, timeout=120 * SECONDS)

    def close(self):
        """Shut the kernel down and close the page."""
        self.page.evaluate(f"{NOTEBOOK}.sessionContext.shutdown()")
        self.page.close()

    def run_all(self, minutes=8):
        """Run all cells from the menu, and wait for the last, or for an error."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(f"() => ({ALL_RAN})() || ({ERRORS})().length", timeout=minutes * 60 * SECONDS)

    def errors(self):
        """The error outputs of all cells, and what the browser shows in place of a widget that failed."""
        failed = self.page.locator(".jupyter-widgets-error-widget").all_inner_texts()
        return self.page.evaluate(ERRORS) + failed

    def explorers(self):
        """The numbers of the cells that show an explorer."""
        return self.page.evaluate(EXPLORER_CELLS)

    def explorer(self, cell):
        """The explorer of a cell, scrolled to and complete."""
        self.page.evaluate(f"{NOTEBOOK}.content.scrollToItem({cell}, 'start')")
        self.page.evaluate(f"({NOTEBOOK}).content.widgets[{cell}].node.id = 'cell-{cell}'")
        place = self.page.locator(f"#cell-{cell} .mbv2-explorer").first
        place.scroll_into_view_if_needed()  # JupyterLab goes by the heights that it guesses of what it has not shown
        return ExplorerOnPage(self.page, place)

    def height(self):
        """Height of the notebook in pixels."""
        return self.page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollHeight")


class ExplorerOnPage:
    """An explorer in the browser, and the clock that runs from a move to the new picture and text."""

    def __init__(self, page, place):
        self.page, self.place = page, place
        self.picture, self.words = place.get_by_role("img"), place.get_by_role("status")
        self.picture.wait_for(timeout=60 * SECONDS)
        self.words.wait_for(timeout=60 * SECONDS)
        page.wait_for_function("picture => picture.complete", arg=self.picture.element_handle())
        page.evaluate(CLOCK, [place.element_handle(), self.picture.element_handle()])

    def place_of_picture(self):
        """Where the picture stands in the explorer, and its size: (left, top, width, height) in pixels."""
        whole, picture = self.place.bounding_box(), self.picture.bounding_box()
        return picture["x"] - whole["x"], picture["y"] - whole["y"], picture["width"], picture["height"]

    def sliders(self):
        """The names of the sliders, as a screen reader says them."""
        return [slider.get_attribute("aria-label") for slider in self.place.get_by_role("slider").all()]

    def slider(self, name):
        """The handle of the slider of that name."""
        return self.place.get_by_role("slider", name=name, exact=True)

    def press(self, name, key):
        """Press a key on a slider; milliseconds until picture and text are new."""
        self.slider(name).focus()
        return self.timed(lambda: self.page.keyboard.press(key))

    def click(self, name, share):
        """Click on a slider's track at `share` of its length; milliseconds until picture and text are new."""
        return self.timed(lambda: self.page.mouse.click(*self._spot(name, share)))

    def drag(self, name, start, end, steps=20):
        """Drag a slider's handle from one share of its length to another, and let go."""
        self.page.mouse.move(*self._spot(name, start))
        self.page.mouse.down()
        self.page.mouse.move(*self._spot(name, end), steps=steps)
        self.page.mouse.up()

    def lists(self):
        """The names of the lists to choose from."""
        boxes = self.place.get_by_role("combobox").all()
        return [box.evaluate("box => box.labels[0].textContent") for box in boxes]

    def upload(self, name, path):
        """Press a button for uploads and choose a file; milliseconds until picture and text are new."""

        def choose_file():
            with self.page.expect_file_chooser() as chooser:
                self.place.get_by_role("button", name=name).click()
            chooser.value.set_files(path)

        return self.timed(choose_file)

    def choose(self, name, option):
        """Choose from a list; milliseconds until picture and text are new."""
        return self.timed(lambda: self.place.get_by_role("combobox", name=name, exact=True).select_option(option))

    def timed(self, move):
        """Milliseconds from the first event of `move` in the browser until picture and text have both changed."""
        self.page.evaluate("clock.ready()")
        move()
        self.page.wait_for_function("clock.done()", timeout=20 * SECONDS, polling=10)
        return self.page.evaluate("clock.took()")

    def _spot(self, name, share):
        track = self.slider(name).locator("xpath=ancestor::*[contains(@class, 'noUi-target')]")
        # For 0.3 s after a click the slider slides, and hears nothing; a reader's hand is slower than that.
        self.page.wait_for_function("track => !track.matches('.noUi-state-tap')", arg=track.element_handle())
        box = track.bounding_box()
        return box["x"] + share * box["width"], box["y"] + box["height"] / 2


NOTEBOOK = "window.jupyterapp?.shell.currentWidget"
ALL_RAN = f"""() => {NOTEBOOK}.sessionContext.session.kernel.status == 'idle' && {NOTEBOOK}.content.widgets.every(
    cell => cell.model.type != 'code' || !cell.model.sharedModel.source.trim() || cell.model.executionState == 'idle'
        && cell.model.executionCount)"""
ERRORS = f"""() => {NOTEBOOK}.content.widgets
    .flatMap(cell => cell.model.type == 'code' ? cell.model.sharedModel.outputs : [])
    .filter(output => output.output_type == 'error').map(output => output.ename + ': ' + output.evalue)"""
EXPLORER_CELLS = f"""() => {NOTEBOOK}.content.widgets.flatMap((cell, index) => cell.model.type == 'code' &&
    cell.model.sharedModel.outputs.some(output => output.data?.['application/vnd.jupyter.widget-view+json'])
    && /_explorer\\(/.test(cell.model.sharedModel.source) ? [index] : [])"""
CLOCK = """([place, image]) => {
    let began, painted, told;
    const begin = () => { began ??= performance.now(); };
    for (const event of ['keydown', 'pointerdown', 'input']) place.addEventListener(event, begin, true);
    image.addEventListener('load', () => { painted = performance.now(); });
    new MutationObserver(() => { told = performance.now(); })
        .observe(place.querySelector('.mbv2-words'), {childList: true, subtree: true});
    window.clock = {
        ready: () => { began = painted = told = undefined; },
        done: () => painted !== undefined && told !== undefined,
        took: () => Math.max(painted, told) - began,
    };
}"""
