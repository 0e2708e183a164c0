"""Run notebooks from top to bottom and write them back with their outputs: python notebooks/execute.py [NOTEBOOK ...]

Without a name it runs all. A notebook is written only when every cell ran and none wrote to standard error, so that
what stands in the repository is one run from a fresh kernel. What changes from run to run (times of execution, ids,
the state of widgets) is taken out, and the line that says what the notebook costs is filled in with what it did cost.
"""

import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
import pooch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from mbv2_lib.files import UserError, write_text

HERE = Path(__file__).resolve().parent
CORES = 2
COST = re.compile(r"\*Measured cost: [^*]*\*")
WIDGET = "application/vnd.jupyter.widget-view+json"
SLIDERS = "(Run this cell in JupyterLab to see it move.)"  # for who reads the notebook where no kernel runs


def main(names):
    paths = [Path(name).resolve() for name in names] or sorted(HERE.glob("[0-9]*.ipynb"))
    if hasattr(os, "sched_setaffinity"):  # the cost line speaks of a two-core CPU: a kernel inherits this
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    for path in paths:
        try:
            print(f"{path.name}: {execute(path)}", flush=True)
        except (UserError, CellExecutionError) as problem:
            sys.exit(f"{path.name}: left as it was. {problem}")


def execute(path):
    """Run the notebook at `path` in its folder and write it back; returns its cost line. Raises UserError."""
    notebook = nbformat.read(path, as_version=4)
    start = time.time()
    client = NotebookClient(
        notebook,
        timeout=3600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    )
    client.execute(env=kernel_environment(), stderr=subprocess.DEVNULL)
    cost = cost_line(path, start, time.time() - start)
    complaints(notebook)
    tidy(notebook, cost)
    write_text(path, nbformat.writes(notebook) + "\n")
    return cost.strip("*")


def kernel_environment():
    """This shell's variables for a kernel: it sees no GPU, and nothing that would change its figures or warnings."""
    kept_out = {"MPLBACKEND", "PYTHONSTARTUP", "PYTHONWARNINGS"}
    kept = {name: value for name, value in os.environ.items() if name not in kept_out}
    return kept | {"CUDA_VISIBLE_DEVICES": "-1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def complaints(notebook):
    """Raise UserError for a cell that wrote to standard error (one that failed has ended the run already)."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise UserError(f"cell {number} wrote to standard error: {output.text[:500]}")


def cost_line(path, start, seconds):
    """The line in the notebook's head, of this run: minutes, megabytes fetched and megabytes left on the disk."""
    cache, data, runs = (pooch.os_cache("mbv2_lib"), path.parent.parent / "data", path.parent.parent / "runs")
    download = written(cache, start)
    disk = download + written(data, start) + sum(written(run, start) for run in runs.glob(f"notebook-{path.name[:2]}*"))
    machine = platform.machine().replace("_", "-")
    versions = f"TensorFlow {version('tensorflow')}, Keras {version('keras')}"
    return (
        f"*Measured cost: {max(seconds / 60, 0.1):.1f} minutes on a two-core CPU; download {download / 1e6:.0f} MB; "
        f"disk {disk / 1e6:.0f} MB ({machine}, {CORES} cores; {versions}).*"
    )


def written(folder, start):
    """Bytes of the files under `folder` that were written since `start`."""
    found = [path.stat() for path in Path(folder).rglob("*") if path.is_file()]
    return sum(status.st_size for status in found if status.st_ctime >= start)


def tidy(notebook, cost):
    """Leave only what is the same in every run: text, code, outputs, tags; number the cells; fill in the cost."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.tags} if cell.metadata.get("tags") else {})
        if cell.cell_type == "markdown" and COST.search(cell.source):
            cell.source = COST.sub(lambda _: cost, cell.source)
        for output in cell.get("outputs", []):
            if WIDGET in output.get("data", {}):
                output.data = nbformat.from_dict({"text/plain": SLIDERS})


if __name__ == "__main__":
    main(sys.argv[1:])
