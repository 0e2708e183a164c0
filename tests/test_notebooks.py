"""Every notebook keeps to every claim of `claims.py`; README.md's map is the folder's; and each claim can fail."""

import ast
import base64
import copy
import re
import subprocess
import sys
from pathlib import Path

import claims
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.__name__)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook(path, claim):
    problems = list(claim(claims.Notebook(path)))
    assert not problems, f"{path.name} {claim.__name__.replace('_', ' ')}? No:\n" + "\n".join(problems)


def test_the_notebooks_are_numbered_without_a_gap():
    numbers = [path.name[:3] for path in PATHS]
    assert len(PATHS) >= 7
    assert numbers == [f"{number:02d}_" for number in range(len(PATHS))]


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_the_code_of_the_notebooks_is_in_style(command):
    ruff = [sys.executable, "-m", "ruff", *command.split(), "--no-cache", "notebooks"]
    finished = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_link_of_a_page_leads_somewhere():
    for page in (ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("data/*/*/README.md")):
        broken = list(claims.broken_links(page.read_text(encoding="utf-8"), page.parent))
        assert not broken, f"{page.relative_to(ROOT)}: {broken}"


def test_the_map_in_the_readme_is_the_folder():
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    mapped = {match[1]: row for row in rows if (match := re.search(r"\]\(notebooks/([^)#]+\.ipynb)\)", row))}
    assert list(mapped) == [path.name for path in PATHS]
    for path in PATHS:
        minutes = claims.COST_LINE.search(claims.Notebook(path).cells[0].source)["minutes"]
        assert mapped[path.name].endswith(f"| {minutes} |"), f"{path.name} took {minutes} minutes"


# What follows shows that each claim can fail: a notebook that keeps to all of them, spoilt in one place.

LIBRARY_FUNCTION = ast.get_source_segment(
    source := (claims.LIBRARY / "architecture.py").read_text(encoding="utf-8"),
    next(node for node in claims.definitions(ast.parse(source)) if node.name == "make_divisible"),
)
EXERCISE = """\
def answer(x): ...  # hint("02-{0}") helps

check("02-{0}", answer)"""
SOLUTION = "<details><summary>Solution</summary>\n\n```python\ndef answer(x):\n    return 2 * x\n```\n\n</details>"


def output(text):
    return [new_output("stream", text=text)]


def good_cells():
    head = (
        "# Build the network\n\n**You'll do** this. **You'll learn** that. **You'll need** it.\n\n"
        "*Measured cost: 0.4 minutes on a two-core CPU; download 0 MB; disk 12 MB "
        "(x86-64, 2 cores; TensorFlow 2.21.0, Keras 3.15.1).*\n\n---"
    )
    cells = [
        new_markdown_cell(head),
        new_code_cell(
            claims.SETTINGS, outputs=output("laptop runs on cifar100\n"), metadata={"tags": [claims.IGNORED]}
        ),
        new_markdown_cell("## A claim\n\n" + "word " * 1200),
        new_code_cell(LIBRARY_FUNCTION),
        new_markdown_cell("It has 17 blocks, and the next counts. [There](03_next.ipynb) and [here](#a-claim)."),
        new_code_cell("print(len(blocks))", outputs=output("17\n")),
        new_markdown_cell("It was 74.7 % in the paper (arXiv 1801.04381).", metadata={"tags": ["cited"]}),
        new_markdown_cell("---\n\n## On your own"),
    ]
    for name in "abc":
        cells.append(new_code_cell(EXERCISE.format(name), outputs=output("Not answered yet: fill in the dots.\n")))
        cells.append(new_markdown_cell(SOLUTION))
    cells.append(new_markdown_cell("## In practice\n\nOne does."))
    cells.append(new_markdown_cell("## Further reading\n\n[The paper](https://arxiv.org/abs/1801.04381)."))
    cells.append(new_markdown_cell("Next: [03_next](03_next.ipynb)"))
    counted = 0
    for number, cell in enumerate(cells, 1):
        cell.id = f"cell-{number:02d}"
        if cell.cell_type == "code":
            cell.execution_count = counted = counted + 1
    return cells


@pytest.fixture
def problems_of(tmp_path, monkeypatch):
    """A function that gives, claim by claim, what speaks against a notebook."""
    monkeypatch.setattr(claims.exercises, "EXERCISES", dict.fromkeys(["01-x", "02-a", "02-b", "02-c"]))
    (tmp_path / "03_next.ipynb").touch()

    def examine(content):
        nbformat.write(content, tmp_path / "02_good.ipynb")
        notebook = claims.Notebook(tmp_path / "02_good.ipynb")
        return {claim: problems for claim in claims.CLAIMS if (problems := list(claim(notebook)))}

    return examine


def test_a_good_notebook_keeps_to_every_claim(problems_of):
    assert problems_of(new_notebook(cells=good_cells())) == {}


def png(size):
    return [new_output("display_data", data={"image/png": base64.b64encode(bytes(size)).decode()})]


def replace(number, old, new):
    def spoil(notebook):
        assert old in notebook.cells[number].source
        notebook.cells[number].source = notebook.cells[number].source.replace(old, new)

    return spoil


def outputs(number, value):
    return lambda notebook: notebook.cells[number].update(outputs=value)


def tagged(number, *names):
    return lambda notebook: notebook.cells[number].metadata.update(tags=list(names))


WIDGET_OUTPUT = [new_output("display_data", data={claims.WIDGET: {"model_id": "1"}})]
SPOILT = [
    (claims.opens_with_what_it_gives_and_costs, replace(0, "# Build", "Build")),
    (claims.opens_with_what_it_gives_and_costs, replace(0, "You'll learn", "Learn")),
    (claims.opens_with_what_it_gives_and_costs, replace(0, "0.4 minutes", "0.0 minutes")),
    (claims.opens_with_what_it_gives_and_costs, replace(0, "x86-64, 2 cores; TensorFlow 2.21.0, ", "")),
    (claims.opens_with_what_it_gives_and_costs, replace(0, "\n---", "")),
    (claims.closes_with_exercises_practice_and_reading, replace(14, "## In practice", "## By the way")),
    (claims.closes_with_exercises_practice_and_reading, replace(7, "---\n\n", "")),
    (claims.closes_with_exercises_practice_and_reading, replace(16, "03_next.ipynb", "02_good.ipynb")),
    (claims.begins_with_the_settings_that_all_share, replace(1, "laptop", "full")),
    (claims.begins_with_the_settings_that_all_share, tagged(1)),
    (claims.was_run_on_cifar100, outputs(1, output("laptop runs on shapes100\n"))),
    (claims.has_three_exercises_with_check_hint_and_solution, replace(8, '"02-a", answer', '"01-x", answer')),
    (claims.has_three_exercises_with_check_hint_and_solution, replace(8, 'hint("02-a") helps', "")),
    (claims.has_three_exercises_with_check_hint_and_solution, replace(9, "</details>", "")),
    (claims.has_three_exercises_with_check_hint_and_solution, outputs(8, output("Right. Well done.\n"))),
    (claims.has_three_exercises_with_check_hint_and_solution, tagged(8, claims.IGNORED)),
    (claims.was_executed_from_top_to_bottom, lambda notebook: notebook.cells[5].update(execution_count=None)),
    (claims.was_executed_from_top_to_bottom, lambda notebook: notebook.cells[5].update(execution_count=9)),
    (claims.was_executed_from_top_to_bottom, lambda notebook: notebook.cells[6].update(source="")),
    (claims.prints_no_error_and_no_warning, outputs(5, [new_output("error", ename="E", evalue="", traceback=[])])),
    (claims.prints_no_error_and_no_warning, outputs(3, [new_output("stream", name="stderr", text="I0000 rocm")])),
    (claims.prints_no_error_and_no_warning, outputs(3, output("50%|##  | 1/2 [00:01<00:01, 1.0it/s]"))),
    (claims.names_no_path_of_a_machine, outputs(3, output("saved in '/home/me/runs'"))),
    (claims.names_no_path_of_a_machine, outputs(3, output("/tmp/runs/one"))),
    (claims.names_no_path_of_a_machine, replace(4, "counts", "is in C:\\Users")),
    (claims.shows_no_widget_without_its_state, lambda notebook: notebook.metadata.update(widgets={"x": {}})),
    (claims.shows_no_widget_without_its_state, outputs(3, WIDGET_OUTPUT)),
    (claims.is_small, outputs(3, png(400_001))),
    (claims.is_small, lambda notebook: notebook.cells[3].update(outputs=png(149_000) * 8)),
    (claims.has_short_cells, replace(5, "print(len(blocks))", "print(\n" + "1,\n" * 40 + ")")),
    (claims.has_short_cells, replace(5, "print(len(blocks))", "print(\n" + "1,\n" * 15 + ")")),
    (
        claims.has_short_cells,
        lambda notebook: [cell.update(source="x\n" * 7) for cell in notebook.cells if cell.cell_type == "code"],
    ),
    (claims.is_more_text_than_code, replace(2, "word " * 10, "")),
    (claims.is_more_text_than_code, replace(2, "word ", "word word word ")),
    (claims.is_more_text_than_code, lambda notebook: notebook.cells.extend(map(new_markdown_cell, "abcdef"))),
    (claims.has_headings_in_order, replace(2, "## A claim", "# A claim")),
    (claims.has_headings_in_order, replace(2, "## A claim", "#### A claim")),
    (claims.links_to_what_exists, replace(4, "03_next.ipynb", "03_gone.ipynb")),
    (claims.links_to_what_exists, replace(4, "#a-claim", "#another-claim")),
    (claims.defines_what_the_library_repeats, replace(3, "0.9", "0.8")),
    (claims.defines_what_the_library_repeats, replace(3, "make_divisible", "make_divisable")),
    (
        claims.means_one_thing_by_a_name,
        lambda notebook: [
            spoil(notebook)
            for spoil in (replace(5, "len(blocks)", "[data for _ in size]"), replace(8, "check(", "data = 1\ncheck("))
        ],
    ),
    (
        claims.has_half_of_its_outputs_compared,
        lambda notebook: [tagged(n, claims.IGNORED)(notebook) for n in (5, 8, 10)],
    ),
    (claims.has_half_of_its_outputs_compared, tagged(3, claims.IGNORED)),
    (claims.has_half_of_its_outputs_compared, tagged(5, "nbval-skip")),
    (claims.has_half_of_its_outputs_compared, replace(5, "print", "# NBVAL_IGNORE_OUTPUT\nprint")),
    (claims.shows_every_number_of_its_text, replace(4, "17 blocks", "18 blocks")),
    (claims.shows_every_number_of_its_text, tagged(6)),
    (claims.shows_every_number_of_its_text, replace(6, "(arXiv 1801.04381)", "")),
]


@pytest.mark.parametrize(("claim", "spoil"), SPOILT, ids=lambda value: getattr(value, "__name__", ""))
def test_a_spoilt_notebook_does_not(problems_of, claim, spoil):
    notebook = new_notebook(cells=copy.deepcopy(good_cells()))
    spoil(notebook)
    assert claim in problems_of(notebook)


def test_every_claim_is_shown_to_fail():
    assert {claim for claim, _ in SPOILT} == set(claims.CLAIMS)


def test_a_docstring_and_a_comment_make_no_difference_to_a_definition(problems_of):
    cells = good_cells()
    cells[3].source = re.sub(r'""".*?"""', '"""In other words."""  # and a remark', LIBRARY_FUNCTION, flags=re.DOTALL)
    assert problems_of(new_notebook(cells=cells)) == {}
