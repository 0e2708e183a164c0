"""What the benchmarks share: works timed by turns, and what was found, printed and kept for `make bench`.

A shared machine may be twice as slow in one minute as in the next. Two works that are timed by turns, A B A B, meet the
same minutes, so their ratio is worth more than either time.
"""

import argparse
import math
import time
from pathlib import Path
from statistics import median

from mbv2_lib.files import write_json

BENCHMARKS = Path(__file__).parent


def arguments(text, argv=None):
    """The arguments of every script: `tiny` for a run of seconds that only shows that it works, and `out`."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--tiny", action="store_true", help="a few small pictures: shows that it works, not how fast")
    parser.add_argument("--out", type=Path, default=BENCHMARKS.parent / "build" / "bench", help="folder for results")
    return parser.parse_args(argv)


def alternate(works, pairs=5, before=None):
    """Call the functions of the dict `works` by turns, once to warm up and `pairs` times timed.

    before: called ahead of each, untimed. Returns a dict of name to a list of `pairs` times in seconds.
    """
    seconds = {name: [] for name in works}
    for turn in range(pairs + 1):
        for name, work in works.items():
            if before:
                before()
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def compare(what, ours, theirs, amount=1, their_amount=None, unit="images/s", at_least=None):
    """One row of the table: two lists of seconds as rates, and their ratio.

    amount, their_amount: what one call did, in the unit; the second is the first by default.
    at_least: the ratio that is aimed at. The spread of the ratio is that of the single pairs.
    """
    their_amount = their_amount or amount
    mine, other = ([count / time for time in times] for count, times in ((amount, ours), (their_amount, theirs)))
    ratios = [one / two for one, two in zip(mine, other, strict=True)]
    return {
        "what": what,
        "unit": unit,
        "ours": spread(mine),
        "theirs": spread(other),
        "ratio": median(mine) / median(other),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "pairs": len(ratios),
        "at_least": at_least,
    }


def spread(values):
    """Median, least and greatest of some values."""
    return {"median": median(values), "low": min(values), "high": max(values)}


def late(values):
    """The value that 95 of 100 do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def shown(values):
    """A spread as text: 1,234 (1,200 to 1,300)."""
    return f"{figure(values['median'])} ({figure(values['low'])} to {figure(values['high'])})"


def figure(value):
    """A number in three digits, or whole where it has more: 0.0123, 1.23, 12.3, 1,230."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def report(options, name, title, rows=(), text="", pictures=()):
    """Print what a benchmark found, and keep it as <out>/<name>.json for `make bench`. Returns what was kept.

    rows: of `compare`. text: Markdown. pictures: names of PNG files in `out`.
    """
    found = {"title": title, "rows": list(rows), "text": text, "pictures": list(pictures)}
    write_json(options.out / f"{name}.json", found)
    print(title)
    for row in rows:
        aim = f"; aim {row['at_least']}" if row["at_least"] else ""
        print(f"  {row['what']}: {shown(row['ours'])} against {shown(row['theirs'])} {row['unit']}")
        print(f"  ratio {row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f}){aim}")
    print(text, flush=True)
    return found


def table(head, rows):
    """A Markdown table of texts."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
