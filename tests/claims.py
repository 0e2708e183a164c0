"""What every notebook of the series keeps to, one function a claim: it returns what speaks against it, a line each.

A claim takes a Notebook; `test_notebooks.py` holds every notebook against every claim, and shows that each can fail.
"""

import ast
import base64
import functools
import re
import statistics
import symtable
from pathlib import Path

import nbformat
import prose

from mbv2_lib import exercises

LIBRARY = Path(exercises.__file__).parent
SETTINGS = """\
import os
from pathlib import Path

size = os.environ.get("MBV2_SIZE", "laptop")  # "full" where there is a GPU
cifar100_is_here = Path("../data/cifar100/train.bin").exists()
data = os.environ.get("MBV2_DATA", "../data/cifar100" if cifar100_is_here else "shapes100")
reference = Path("../data/reference_runs") / ("shapes100-64px" if data == "shapes100" else "cifar100-128px")
print(f"{size} runs on {Path(data).name}")"""
COST_LINE = re.compile(
    r"\*Measured cost: (?P<minutes>\d+\.\d) minutes on a two-core CPU; "
    r"download \d+ MB; disk \d+ MB \([^()]+; TensorFlow [^()]+, Keras [^()]+\)\.\*"
)
CLOSING = ("On your own", "In practice", "Further reading")
INTRODUCES = {"01": ("conv_bn", "depthwise_bn", "inverted_residual"), "02": ("make_divisible",)}
IGNORED = "nbval-ignore-output"
WIDGET = "application/vnd.jupyter.widget-view+json"
COMPREHENSIONS = ("listcomp", "setcomp", "dictcomp", "genexpr")  # as the symbol table calls them
MACHINE_PATH = re.compile(r"""(?:(?<=[\s"'(=:,`\[])|^)/(?:work|root|home|tmp|Users|var|mnt)\b\S*|\b[A-Z]:\\\S*""", re.M)
SOLUTION = re.compile(
    r"<details>\s*<summary>Solution</summary>\s*\n```python\n(?P<code>.*?)\n```\s*\n[^`]*</details>", re.DOTALL
)


class Notebook:
    """A notebook of the series: its cells, and the parts of it that several claims look at."""

    def __init__(self, path):
        self.path = Path(path)
        self.number = self.path.name[:2]
        self.content = nbformat.read(self.path, as_version=4)
        self.cells = self.content.cells
        self.code = [cell for cell in self.cells if cell.cell_type == "code"]
        self.text = [cell for cell in self.cells if cell.cell_type == "markdown"]

    @functools.cached_property
    def headings(self):
        """(level, title, cell) in order."""
        found = []
        for cell in self.text:
            for line in re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL).splitlines():
                if match := re.match(r"(#+) +(.+)", line):
                    found.append((len(match[1]), match[2].strip(), cell))
        return found

    @functools.cached_property
    def exercises(self):
        """(name, the answer's expression, the code cell, the cell after it), for every call of `check`."""
        found = []
        for cell, after in zip(self.cells, [*self.cells[1:], None], strict=True):
            if cell.cell_type == "code":
                for node in ast.walk(prose.syntax_tree(cell.source)):
                    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check" and len(node.args) == 2:
                        found.append((ast.literal_eval(node.args[0]), ast.unparse(node.args[1]), cell, after))
        return found


def tags(cell):
    return cell.metadata.get("tags", [])


def solution(cell):
    """The code that is folded in a text cell, or None."""
    match = SOLUTION.search(cell.source) if cell is not None and cell.cell_type == "markdown" else None
    return match["code"] if match else None


def opens_with_what_it_gives_and_costs(notebook):
    head = notebook.cells[0].source if notebook.cells else ""
    if not head.startswith("# "):
        yield "the first cell does not begin with a title (# ...)"
    for promise in ("do", "learn", "need"):
        if not re.search(rf"\*\*You['’]ll {promise}\b.*?\*\*", head):
            yield f"the first cell says nowhere **You'll {promise}**"
    cost = COST_LINE.search(head)
    if not cost:
        yield "the first cell has no cost line as notebooks/execute.py writes it"
    elif float(cost["minutes"]) == 0:
        yield "its cost is 0.0 minutes: run notebooks/execute.py on it"
    if not head.rstrip().endswith("\n---"):
        yield "the first cell does not end with a rule (---)"


def closes_with_exercises_practice_and_reading(notebook):
    titles = [title for level, title, _ in notebook.headings if level == 2][-3:]
    if titles != list(CLOSING):
        yield f"expected the last headings {CLOSING}, found {titles}"
    before = "\n".join(cell.source if cell.cell_type == "markdown" else "code" for cell in notebook.cells)
    if not re.search(r"(?:^|\n)---\s*## On your own", before):
        yield "no rule (---) stands before ## On your own"
    later = sorted(path.name for path in notebook.path.parent.glob("[0-9]*.ipynb") if path.name > notebook.path.name)
    if later and f"[{Path(later[0]).stem}]({later[0]})" not in notebook.cells[-1].source.rstrip().split("\n")[-1]:
        yield f"its last line does not link to [{Path(later[0]).stem}]({later[0]})"


def begins_with_the_settings_that_all_share(notebook):
    first = next(iter(notebook.code), None)
    if first is None or first.source.strip() != SETTINGS:
        yield "its first code cell is not the settings cell, to the letter"
    elif IGNORED not in tags(first):
        yield f"the settings cell is not tagged {IGNORED}"


def was_run_on_cifar100(notebook):
    first = next(iter(notebook.code), None)
    if first is not None and prose.printed(first) != ["laptop runs on cifar100\n"]:
        yield f"the settings cell printed {prose.printed(first)}: run notebooks/execute.py where data/cifar100 is"


def has_three_exercises_with_check_hint_and_solution(notebook):
    names = [name for name, *_ in notebook.exercises]
    theirs = [name for name in exercises.EXERCISES if name.startswith(notebook.number)]
    if len(names) != 3 or sorted(names) != sorted(theirs):
        yield f"expected three exercises, those of exercises.py ({theirs}), found {names}"
    for name, _, cell, after in notebook.exercises:
        if f'hint("{name}")' not in cell.source:
            yield f'{cell.id}: hint("{name}") stands nowhere in it'
        if not "".join(prose.printed(cell)).startswith("Not answered yet"):
            yield f"{cell.id}: its output does not begin with Not answered yet"
        if IGNORED in tags(cell):
            yield f"{cell.id}: an exercise prints the same everywhere, and needs no {IGNORED}"
        if solution(after) is None:
            yield f"{cell.id}: no solution folds in the next cell (<details><summary>Solution</summary>, ```python)"


def was_executed_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in notebook.code]
    if counts != list(range(1, len(counts) + 1)):
        yield f"expected the execution counts 1 to {len(counts)}, found {counts}"
    yield from (f"{cell.id}: the cell is empty" for cell in notebook.cells if not cell.source.strip())


def prints_no_error_and_no_warning(notebook):
    for cell in notebook.code:
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"{cell.id}: ends with {output.ename}: {output.evalue}"
            elif output.get("name") == "stderr":
                yield f"{cell.id}: standard error holds {output.text[:200]!r}"
            elif "\r" in output.get("text", "") or re.search(r"\d(it| images)/s", output.get("text", "")):
                yield f"{cell.id}: the output holds a progress bar"


def names_no_path_of_a_machine(notebook):
    for cell in notebook.cells:
        for text in [cell.source, *(prose.printed(cell) if cell.cell_type == "code" else [])]:
            yield from (f"{cell.id}: {match.group()}" for match in MACHINE_PATH.finditer(text))


def shows_no_widget_without_its_state(notebook):
    for name, value in notebook.content.metadata.get("widgets", {}).items():
        if "state" not in value:
            yield f"metadata.widgets[{name}] holds no state"
    if "widgets" not in notebook.content.metadata:
        for cell in notebook.code:
            if any(WIDGET in output.get("data", {}) for output in cell.outputs):
                yield f"{cell.id}: shows a widget whose state is not saved: run notebooks/execute.py"


def is_small(notebook):
    size = notebook.path.stat().st_size
    if size > 1.5e6:
        yield f"it has {size / 1e6:.2f} MB, more than 1.5"
    for cell in notebook.code:
        for output in cell.outputs:
            for kind, data in output.get("data", {}).items():
                if kind.startswith("image/") and kind != "image/svg+xml":
                    bytes_ = len(base64.b64decode(data))
                    if bytes_ > 400_000:
                        yield f"{cell.id}: a picture of {bytes_ / 1e3:.0f} kB, more than 400"


def has_short_cells(notebook):
    lines = {cell.id: sum(1 for line in cell.source.splitlines() if line.strip()) for cell in notebook.code}
    yield from (f"{cell}: {count} lines, more than 40" for cell, count in lines.items() if count > 40)
    if lines and statistics.median(lines.values()) > 6:
        yield f"half of its code cells have more than 6 lines: {sorted(lines.values())}"
    if lines and sum(count <= 15 for count in lines.values()) < 0.9 * len(lines):
        yield f"more than a tenth of its code cells have over 15 lines: {sorted(lines.values())}"


def is_more_text_than_code(notebook):
    share = len(notebook.text) / max(len(notebook.text) + len(notebook.code), 1)
    if not 0.5 <= share <= 0.7:
        yield f"expected .5 to .7 of its cells to be text, found {share:.2f}"
    blank = re.compile(r"```.*?```|<[^>]+>|\]\([^)]*\)", re.DOTALL)
    words = sum(len(re.findall(r"[\w'’.,-]*\w", blank.sub(" ", cell.source))) for cell in notebook.text)
    least = 500 if notebook.number == "00" else 1200
    if not least <= words <= 2500:
        yield f"expected {least} to 2500 words of text, found {words}"


def has_headings_in_order(notebook):
    levels = [level for level, _, _ in notebook.headings]
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"expected one title (#), at the top, found {levels.count(1)}"
    for (before, _, _), (level, title, cell) in zip(notebook.headings, notebook.headings[1:], strict=False):
        if level > before + 1:
            yield f"{cell.id}: {title!r} has level {level} below level {before}"


def links_to_what_exists(notebook):
    anchors = {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-").lower() for _, title, _ in notebook.headings}
    for cell in notebook.text:
        for broken in broken_links(cell.source, notebook.path.parent, anchors):
            yield f"{cell.id}: {broken}"


def broken_links(text, folder, anchors=None):
    """The local links of a Markdown text in `folder` that lead nowhere; `anchors` are the headings, if known."""
    text = re.sub(r"```.*?```|`[^`\n]+`", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\(<?([^)\s>]+)>?[^)]*\)", text) + re.findall(r"""(?:src|href)=["']([^"']+)["']""", text)
    for target in targets:
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        if file and not (Path(folder) / file).exists():
            yield f"there is no {target}"
        elif not file and anchors is not None and anchor.lower() not in anchors:
            yield f"there is no heading {target}"


def defines_what_the_library_repeats(notebook):
    theirs = library()
    own = [
        (definition.name, definition, cell)
        for cell in notebook.code
        for definition in definitions(prose.syntax_tree(cell.source))
    ]
    for name, definition, cell in own:
        if name in theirs and without_docstring(definition) not in theirs[name].values():
            yield f"{cell.id}: {name} is other code than in {' and '.join(theirs[name])}"
    for name in INTRODUCES.get(notebook.number, ()):
        if name not in {name for name, _, _ in own}:
            yield f"it introduces {name} and does not define it"


@functools.cache
def library():
    """name -> {module: syntax tree} of every function and class at the top level of the library's modules."""
    found = {}
    for path in sorted(LIBRARY.glob("*.py")):
        for definition in definitions(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(definition.name, {})[path.name] = without_docstring(definition)
    return found


def definitions(tree):
    return [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def without_docstring(definition):
    """The syntax tree as text, without docstrings (comments and blank lines are no part of a tree)."""
    tree = ast.parse(ast.unparse(definition))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def means_one_thing_by_a_name(notebook):
    """A cell that is run again, after those below it, finds what it found before."""
    cells = [(cell.id, *names_in(cell.source)) for cell in notebook.code]
    for place, (cell, read, _) in enumerate(cells):
        for name in sorted(read):
            above = any(name in given for *_, given in cells[:place])
            below = [other for other, _, given in cells[place + 1 :] if name in given]
            if above and below:
                yield f"{cell}: reads `{name}`, to which {below[0]} gives another meaning; choose another name there"


def names_in(source):
    """(read, given): the names that a cell takes from others, and those to which it gives a value.

    What stands in the body of a function or of a lambda counts where it is called, not here.
    """
    top = symtable.symtable(source, "cell", "exec")
    given = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    read = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    inside = [table for table in top.get_children() if table.get_name() in COMPREHENSIONS]
    for table in inside:
        read |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        inside += [child for child in table.get_children() if child.get_name() in COMPREHENSIONS]
    return read - given, given


def has_half_of_its_outputs_compared(notebook):
    printing = [cell for cell in notebook.code if prose.printed(cell)]
    compared = [cell for cell in printing if IGNORED not in tags(cell)]
    if len(compared) < len(printing) / 2:
        ignored = [cell.id for cell in printing if IGNORED in tags(cell)]
        yield f"{len(compared)} of {len(printing)} printing cells are compared, fewer than half; tagged: {ignored}"
    for cell in notebook.cells:
        if IGNORED in tags(cell) and not cell.get("outputs"):
            yield f"{cell.id}: is tagged {IGNORED} and prints nothing"
        known = {IGNORED} if cell.cell_type == "code" else {"cited"}
        if not set(tags(cell)) <= known:
            yield f"{cell.id}: expected no tag but {known}, found {tags(cell)}"
        if cell.cell_type == "code" and re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE)", cell.source):
            yield f"{cell.id}: a comment for nbval; use the tag {IGNORED}"


def shows_every_number_of_its_text(notebook):
    yield from map(str, prose.unfounded(notebook.content))
    for cell in notebook.text:
        if "cited" in tags(cell) and not re.search(r"\]\(https?://|https?://|arXiv:?\s*\d", cell.source):
            yield f"{cell.id}: is tagged cited and names no source (a link or an arXiv number)"


CLAIMS = (
    opens_with_what_it_gives_and_costs,
    closes_with_exercises_practice_and_reading,
    begins_with_the_settings_that_all_share,
    was_run_on_cifar100,
    has_three_exercises_with_check_hint_and_solution,
    was_executed_from_top_to_bottom,
    prints_no_error_and_no_warning,
    names_no_path_of_a_machine,
    shows_no_widget_without_its_state,
    is_small,
    has_short_cells,
    is_more_text_than_code,
    has_headings_in_order,
    links_to_what_exists,
    defines_what_the_library_repeats,
    means_one_thing_by_a_name,
    has_half_of_its_outputs_compared,
    shows_every_number_of_its_text,
)
