"""Runs every benchmark, each in a process of its own, and writes what they found to benchmarks/results.md."""

import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pairs import BENCHMARKS, arguments, shown, table

from mbv2_lib.files import read_json, write_text

# The order of the page. Each is also a command: python benchmarks/NAME.py
SCRIPTS = (
    "write_folders",
    "train_step",
    "freed_memory",
    "input_pipeline",
    "costs",
    "explorer_latency",
    "browser_latency",
    "memory",
    "step_profile",
    "scaling",
    "accelerator",
    "latency",
)
PACKAGES = "tensorflow", "keras", "ai-edge-litert", "torch", "numpy", "opencv-python"


def machine():
    """The processor, its cores, the system and the versions, in one sentence."""
    information = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(": ")[1] for line in information.splitlines() if line.startswith("model name")]
    units = next((name for name in ("avx512f", "avx2") if name in information), None)
    processor = ", ".join(filter(None, [names[0] if names else platform.processor(), units]))
    return f"{platform.machine()}, {processor}, {os.cpu_count()} cores, {platform.system()}; {', '.join(versions())}"


def versions():
    """Python and the packages that are there, with their versions."""
    yield f"Python {platform.python_version()}"
    for name in PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def summary(rows):
    """The rows of all benchmarks as one table."""
    head = ["what", "unit", "ours", "the other", "ratio", "ratio of single pairs", "pairs", "aim"]
    lines = []
    for row in rows:
        reach = f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}"
        aim = f"{row['at_least']:,}" if row["at_least"] else ""
        lines.append(
            [
                row["what"], row["unit"], shown(row["ours"]), shown(row["theirs"]),
                f"**{row['ratio']:,.2f}**", reach, row["pairs"], aim,
            ]
        )  # fmt: skip
    return table(head, lines)


def page(found, minutes):
    """The whole of results.md from what the benchmarks kept, a list of dicts."""
    parts = [
        "# How fast it is",
        f"Measured by `make bench` in {minutes:.0f} minutes on: {machine()}.",
        "Every ratio is that of two medians. The two tasks were timed in turn, A B A B, in one run: a shared machine "
        "changes its speed from minute to minute, and so both meet the same minutes. In brackets: the least and the "
        "greatest. Aim: the ratio that we want at least.",
        summary([row for one in found for row in one["rows"]]),
    ]
    for one in found:
        parts += [f"## {one['title']}", one["text"]]
        parts += [f"![{one['title']}]({picture})" for picture in one["pictures"]]
    return "\n\n".join(parts) + "\n"


def main(argv=None, scripts=SCRIPTS, target=BENCHMARKS):
    options = arguments(__doc__, argv)
    start = time.monotonic()
    for name in scripts:
        began = time.monotonic()
        subprocess.run(
            [sys.executable, BENCHMARKS / f"{name}.py", "--out", options.out, *["--tiny"] * options.tiny], check=True
        )
        print(f"({name}: {time.monotonic() - began:.0f} s)\n", flush=True)
    found = [read_json(options.out / f"{name}.json") for name in scripts]
    for picture in (picture for one in found for picture in one["pictures"]):
        shutil.copy(options.out / picture, target / picture)
    write_text(target / "results.md", page(found, (time.monotonic() - start) / 60))


if __name__ == "__main__":
    main()
