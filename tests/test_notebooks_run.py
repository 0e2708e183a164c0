"""Every notebook runs offline, prints what stands in it, and its folded solutions are right.

nbval runs a copy, in its strict mode, with Shapes-100 in laptop size: every code cell must print to the letter what is
committed, unless it is tagged `nbval-ignore-output`. The folded solutions are cells at the end of the copy.
"""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import claims
import matplotlib.font_manager  # fills its cache here: in a notebook it would tell so on standard error
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mbv2_lib.files import UserError

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTE = runpy.run_path(str(ROOT / "notebooks" / "execute.py"))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_stands_in_it(path, tmp_path):
    status, report = run(path, tmp_path)
    assert status == 0, report


def run(path, folder):
    """nbval's exit status and report for a copy of the notebook at `path`, in a tree of its own under `folder`."""
    (folder / "notebooks").mkdir()
    copied = folder / "notebooks" / path.name
    nbformat.write(with_solutions(path), copied)
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    for shipped in ("reference_runs", "sweeps"):
        shutil.copytree(ROOT / "data" / shipped, folder / "data" / shipped)
    nowhere = "http://localhost:9"  # whoever fetches something fails
    environment = EXECUTE["kernel_environment"]() | {
        "MBV2_DATA": "shapes100",
        "MBV2_SIZE": "laptop",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "XDG_CACHE_HOME": str(folder / "cache"),  # nor does it find what was fetched before
        "KERAS_HOME": str(folder / "keras"),
        "MPLCONFIGDIR": matplotlib.get_cachedir(),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # those that are installed for all else take seconds to load
    }
    options = "-p nbval.plugin --nbval --nbval-current-env --nbval-kernel-startup-timeout=300"
    options += " -p no:cacheprovider --color=no -qx"
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options.split(), "--rootdir", folder, copied],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    return finished.returncode, re.sub(r"\x1b\[[0-9;]*m", "", finished.stdout + finished.stderr)  # without colours


def with_solutions(path):
    """The notebook at `path`, and at its end a cell for each exercise: the folded solution, and that it is right."""
    notebook = claims.Notebook(path)
    for name, answer, _, after in notebook.exercises:
        judged = f'found = verdict("{name}", {answer})\nassert found.startswith("Right"), found'
        code = f"{claims.solution(after)}\n\nfrom mbv2_lib.exercises import verdict\n\n{judged}"
        notebook.cells.append(new_code_cell(code))
    return notebook.content


# What follows shows that the run can fail.

SOLUTION = "<details><summary>Solution</summary>\n\n```python\ndef madds(h, w, c):\n    return {}\n```\n\n</details>"


def small(folder, printed="6\n", solution="9 * h * w * c", code="print(2 * 3)"):
    """A notebook of two code cells under `folder`: one that prints, and an exercise."""
    said = 'Not answered yet: fill in the dots and run this cell again. hint("01-depthwise-cost") helps.\n'
    stub = 'from mbv2_lib.exercises import check\n\ndef madds(h, w, c): ...\n\ncheck("01-depthwise-cost", madds)'
    cells = [
        new_code_cell(code, execution_count=1, outputs=[new_output("stream", text=printed)]),
        new_code_cell(stub, execution_count=2, outputs=[new_output("stream", text=said)]),
        new_markdown_cell(SOLUTION.format(solution)),
    ]
    folder.mkdir()
    nbformat.write(new_notebook(cells=cells), folder / "01_small.ipynb")
    return folder / "01_small.ipynb"


@pytest.mark.parametrize(
    ("changes", "status", "report"),
    [
        ({}, 0, "3 passed"),
        ({"printed": "7\n"}, 1, "Cell 0: Cell outputs differ"),
        ({"solution": "h * w * c"}, 1, "AssertionError: Not yet: for h="),
        ({"code": "import sys\nprint(2 * 3)\nprint('log', file=sys.stderr)"}, 1, "{'stderr'}"),
    ],
    ids=["good", "another output", "wrong solution", "standard error"],
)
def test_a_small_notebook(tmp_path, changes, status, report):
    found, text = run(small(tmp_path / "source", **changes), tmp_path)
    assert found == status, text
    assert report in text


def test_a_notebook_is_executed_in_place(tmp_path):
    path = small(tmp_path / "source", printed="7\n")
    EXECUTE["execute"](path)
    once = path.read_text(encoding="utf-8")
    notebook = claims.Notebook(path)
    assert [cell.outputs[0].text for cell in notebook.code][0] == "6\n"
    assert not list(claims.was_executed_from_top_to_bottom(notebook))
    assert [cell.id for cell in notebook.cells] == ["cell-01", "cell-02", "cell-03"]
    assert once.endswith("}\n")
    EXECUTE["execute"](path)
    assert path.read_text(encoding="utf-8") == once


def test_a_notebook_that_fails_or_warns_is_left_as_it_was(tmp_path):
    path = small(tmp_path / "source", code="import sys\nprint('log', file=sys.stderr)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="cell 1 wrote to standard error: log"):
        EXECUTE["execute"](path)
    assert path.read_bytes() == before


def test_what_changes_from_run_to_run_is_taken_out(tmp_path):
    (tmp_path / "runs" / "notebook-01").mkdir(parents=True)
    (tmp_path / "runs" / "of-someone-else").mkdir(parents=True)
    (tmp_path / "runs" / "notebook-01" / "weights").write_bytes(bytes(3_000_000))
    (tmp_path / "runs" / "of-someone-else" / "weights").write_bytes(bytes(9_000_000))
    cost = EXECUTE["cost_line"](tmp_path / "notebooks" / "01_small.ipynb", start=0, seconds=90)
    assert claims.COST_LINE.fullmatch(cost)
    assert cost.startswith("*Measured cost: 1.5 minutes on a two-core CPU;")
    assert "disk 3 MB" in cost
    blank = "*Measured cost: 0.0 minutes on a two-core CPU; download 0 MB; disk 0 MB (machine, versions).*"
    head = f"# Title\n\n{blank}\n\n---"
    shown = [new_output("display_data", data={claims.WIDGET: {"model_id": "1"}, "text/plain": "VBox(...)"})]
    slider = new_code_cell("explorer()", outputs=shown, metadata={"collapsed": True, "tags": [claims.IGNORED]})
    notebook = new_notebook(cells=[new_markdown_cell(head), slider], metadata={"widgets": {"x": {}}})
    EXECUTE["tidy"](notebook, cost)
    assert notebook.cells[0].source == f"# Title\n\n{cost}\n\n---"
    assert [cell.id for cell in notebook.cells] == ["cell-01", "cell-02"]
    assert slider.metadata == {"tags": [claims.IGNORED]}
    assert slider.outputs[0].data == {"text/plain": EXECUTE["SLIDERS"]}
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
