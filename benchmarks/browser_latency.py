"""One slider move in a real browser: from the key or the click to the new picture and words, in JupyterLab."""

import sys
import tempfile
from pathlib import Path

from pairs import BENCHMARKS, arguments, late, report, shown, spread, table

sys.path.append(str(BENCHMARKS.parent / "tests"))
import browser as browsing

TITLE = "One slider move, in the browser"
NAMES = [name for name in browsing.EXPLORERS if name != "picture"]  # that one stands there without its models
MEDIAN, NINETY_FIFTH = 150, 300  # milliseconds: the aims


def moves(explorer, rounds):
    """Milliseconds of each move of the explorer's first slider, eight keys and three clicks a round, or of its list.

    explorer: a `browser.ExplorerOnPage`.
    """
    if not explorer.sliders():
        (name,), options = explorer.lists(), explorer.place.get_by_role("option").all_inner_texts()
        return [explorer.choose(name, options[(1 + turn) % len(options)]) for turn in range(11 * rounds)]
    took, name = [], explorer.sliders()[0]
    for _ in range(rounds):
        if explorer.slider(name).evaluate("handle => handle.ariaValueNow != handle.ariaValueMin"):
            explorer.press(name, "Home")  # from there, each move below moves something
        explorer.click(name, 0.62)
        for _ in range(4):
            took += [explorer.press(name, "ArrowLeft"), explorer.press(name, "ArrowRight")]
        took += [explorer.click(name, share) for share in (0.2, 0.8, 0.4)]
    return took


def measured(notebook, rounds):
    """A table of the explorers; notebook: a `browser.LabPage` that has run them."""
    lines, everything = [], []
    for name in NAMES:
        found = moves(notebook.explorer(browsing.CELLS[name]), rounds)
        everything += found
        lines.append([name, shown(spread(found)), f"{late(found):.0f}"])
    lines.append(["all", shown(spread(everything)), f"{late(everything):.0f}"])
    aims = f"The aims: a median under {MEDIAN} ms, and 95 of 100 under {NINETY_FIFTH} ms."
    return f"{table(['explorer', 'milliseconds a move', '95 of 100 within'], lines)}\n\n{aims}"


def main(argv=None):
    options = arguments(__doc__, argv)
    if reason := browsing.missing():
        return report(options, "browser_latency", TITLE, text=f"Not measured: {reason}")
    with tempfile.TemporaryDirectory() as folder, browsing.chromium() as chromium:
        root, home = Path(folder, "repository"), Path(folder, "home")
        browsing.copy_of_the_notebooks(BENCHMARKS.parent, root)
        with browsing.jupyter_lab(root, home) as address:
            notebook = browsing.LabPage(chromium, address.format(browsing.ALL_EXPLORERS))
            notebook.run_all()
            text = measured(notebook, rounds=1 if options.tiny else 10)
            notebook.close()
    return report(options, "browser_latency", TITLE, text=text)


if __name__ == "__main__":
    main()
