"""One slider move in a real browser: from the key or the click to the new picture and words, in JupyterLab."""

import sys
import tempfile
from pathlib import Path
from statistics import quantiles

from pairs import BENCHMARKS, arguments, report, shown, spread, table

sys.path.append(str(BENCHMARKS.parent / "tests"))
import browser as browsing

MEDIAN, NINETY_FIFTH = 150, 300  # milliseconds: the aims


def moves(explorer, rounds):
    """Milliseconds of each move of the explorer's first slider, or of its list: eight keys and three clicks a round.

    explorer: a `browser.ExplorerOnPage`.
    """
    names = explorer.sliders()
    if not names:
        options = explorer.place.get_by_role("option").all_inner_texts()
        return [explorer.choose(explorer.lists()[0], options[(1 + turn) % len(options)]) for turn in range(11 * rounds)]
    took = []
    for _ in range(rounds):
        explorer.slider(names[0]).press("Home")
        explorer.page.wait_for_timeout(browsing.SECONDS)
        explorer.click(names[0], 0.62)
        for _ in range(4):
            took += [explorer.press(names[0], "ArrowLeft"), explorer.press(names[0], "ArrowRight")]
        took += [explorer.click(names[0], share) for share in (0.2, 0.8, 0.4)]
    return took


def measured(notebook, rounds, names=tuple(browsing.EXPLORERS)):
    """A table of explorers by their names; notebook: a `browser.LabPage` that has run all of `browser.EXPLORERS`."""
    lines, everything = [], []
    for name in names:
        found = moves(notebook.explorer(1 + list(browsing.EXPLORERS).index(name)), rounds)
        everything += found
        lines.append([name, shown(spread(found)), f"{quantiles(found, n=20)[-1]:.0f}"])
    lines.append(["all", shown(spread(everything)), f"{quantiles(everything, n=20)[-1]:.0f}"])
    aims = f"The aims: a median under {MEDIAN} ms, and 95 of 100 under {NINETY_FIFTH} ms."
    return f"{table(['explorer', 'milliseconds a move', '95 of 100 within'], lines)}\n\n{aims}"


def main(argv=None):
    options = arguments(__doc__, argv)
    reason = browsing.missing()
    if reason:
        text = f"Not measured: {reason}"
    else:
        with tempfile.TemporaryDirectory() as folder, browsing.chromium() as chromium:
            root, home = Path(folder, "repository"), Path(folder, "home")
            browsing.copy_of_the_notebooks(BENCHMARKS.parent, root)
            with browsing.jupyter_lab(root, home) as address:
                notebook = browsing.LabPage(chromium, address.format(browsing.ALL_EXPLORERS))
                notebook.run_all()
                text = measured(notebook, rounds=1 if options.tiny else 10)
                notebook.close()
    return report(options, "browser_latency", "One slider move, in the browser", text=text)


if __name__ == "__main__":
    main()
