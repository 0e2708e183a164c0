"""Finds the numbers in a notebook's text that no cell of it shows.

A number in a text cell must stand in the same notebook: in what a code cell printed, with at least as many digits (the
text may round), or as a literal in a code cell. One of less than three digits must stand near by, for far away some
cell shows almost every short number: in the same section, or a few cells above or below. 94.4 % is 0.944 and 2.4 M is
2,386,084. After "about" the zeros at the end of a whole number are taken as rounded. Not looked at: `code`, $formulas$,
links, the digits of names (CIFAR-100, ReLU6), the numbers of tables, figures, sections, equations, papers, notebooks
and exercises, those of a numbered list, and cells that are tagged "cited", which say where their numbers come from.
"""

import ast
import itertools
import re
from typing import NamedTuple

SCALES = {
    **dict.fromkeys(("%", "per cent", "percent", "percentage points", "points"), 1e-2),
    **dict.fromkeys(("k", "kB", "thousand"), 1e3),
    **dict.fromkeys(("M", "MB", "million"), 1e6),
    **dict.fromkeys(("G", "GB", "billion"), 1e9),
    "ms": 1e-3,
}
UNITS = "|".join(map(re.escape, sorted(SCALES, key=len, reverse=True)))
NUMBER = re.compile(
    r"(?<![A-Za-z_\d])(?<![A-Za-z]-)(?<!\d[.,])"  # what follows a letter is part of a name
    r"(?P<digits>\d{1,3}(?:[,\u2009\u202f]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:e(?P<power>[-+]?\d+))?"
    rf"(?:[-\s\u00a0]?(?P<unit>{UNITS})(?![A-Za-z]))?"
)
ABOUT = re.compile(r"(?:\b(?:about|around|roughly|some|nearly|almost|approximately)|[~≈])\s*$", re.IGNORECASE)
COST = re.compile(r"\*Measured cost: [^*]*\*")
EXEMPT = re.compile(
    "|".join(
        [
            r"```.*?(?:```|\Z)",
            r"``.+?``|`[^`]+`",
            r"\$\$.+?\$\$|\$[^$\n]+\$",
            r"!?\[[^\]]*\]\([^)]*\)",
            r"<!--.*?-->|<[A-Za-z/][^>]*>",
            r"https?://\S+",
            COST.pattern,
            r"\b(?:[Tt]ables?|[Ff]igures?|[Ff]ig\.|[Ss]ections?|[Ee]quations?|arXiv:?|[Nn]otebooks?)\s*"
            r"\d[\d.]*[a-z]?(?:(?:,\s*|\s*(?:and|to|or|–|-)\s*)\d[\d.]*[a-z]?)*",
            r"(?:(?<=\n)[ >]*|\A)(?:#+ |\*\*)?\d+[.)](?=\s|\*\*)",
        ]
    ),
    re.DOTALL,
)
ABOVE, BELOW = 6, 2  # cells that are near, beside those of the section


class Number(NamedTuple):
    """A number as written: its value, and the worth of its last digit (0 where it is exact)."""

    value: float
    step: float


class Finding(NamedTuple):
    """A number in a text cell that no cell shows."""

    cell: str
    number: str
    sentence: str

    def __str__(self):
        return f'{self.cell}: no cell shows {self.number}, or none near by: "{self.sentence}"'


def unfounded(notebook):
    """The findings of a notebook (as nbformat reads it), in order of its text."""
    shown = [shown_numbers(cell) for cell in notebook.cells]
    sections = section_of_each(notebook.cells)
    findings = []
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and "cited" not in cell.metadata.get("tags", []):
            near = range(place - ABOVE, place + BELOW + 1)
            close_by = [one for one, section in enumerate(sections) if one in near or section == sections[place]]
            text = cell.source
            for match in NUMBER.finditer(without_exempt(text)):
                places = close_by if is_short(match) else range(len(shown))
                sources = set().union(*(shown[one] for one in places))
                about = ABOUT.search(text[: match.start()]) is not None
                if not any(covers(one, claim) for claim in readings(match, about) for one in sources):
                    findings.append(Finding(cell.id, match.group().strip(), sentence_at(text, match.start())))
    return findings


def section_of_each(cells):
    """For each cell the number of its section, which begins with a cell that has a heading below the title's."""
    begins = [cell.cell_type == "markdown" and re.search(r"^##+ ", cell.source, re.MULTILINE) for cell in cells]
    return list(itertools.accumulate(map(bool, begins)))


def is_short(match):
    """Whether a written number has less than three digits, zeros in front not counted."""
    return len(re.sub(r"\D", "", match["digits"]).lstrip("0")) < 3


def without_exempt(text):
    """`text` with what is not looked at blanked out; every other character keeps its place."""
    return EXEMPT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def readings(match, about=False):
    """The values that a written number may stand for: as it is, and with its unit (94.4 % is 94.4 or 0.944)."""
    digits = re.sub(r"[,\u2009\u202f]", "", match["digits"])
    power = int(match["power"] or 0)
    decimals = len(digits.partition(".")[2])
    if about and not decimals:
        decimals = len(digits.rstrip("0") or digits) - len(digits)  # 2,300: minus two
    plain = Number(float(digits) * 10.0**power, 10.0 ** (power - decimals))
    scale = SCALES.get(match["unit"])
    return [plain] if scale is None else [plain, Number(plain.value * scale, plain.step * scale)]


def covers(shown, claim):
    """Whether the number that a cell shows is the claimed one, once rounded to the claim's digits."""
    slack = 1 + 1e-9
    near = abs(abs(shown.value) - claim.value) <= claim.step / 2 * slack
    return near and shown.step <= claim.step * slack


def shown_numbers(cell):
    """Every number that a code cell prints, and every one that stands in its code. A text cell shows none."""
    if cell.cell_type != "code":
        return set()
    matches = itertools.chain.from_iterable(map(NUMBER.finditer, printed(cell)))
    return literals(cell.source) | set(itertools.chain.from_iterable(map(readings, matches)))


def printed(cell):
    """The texts that a code cell printed. Pictures are no text, nor is what stands for one where it cannot show."""
    texts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if output.output_type == "stream":
            texts.append(output.text)
        elif not any(kind.startswith("image/") for kind in data):
            if "text/html" in data:
                texts.append(re.sub(r"<style.*?</style>|<[^>]+>", " ", data["text/html"], flags=re.DOTALL))
            texts.append(data.get("text/plain", ""))
    return [text for text in texts if text.strip()]


def literals(source):
    """The numbers in a cell's code, exact."""
    constants = (node.value for node in ast.walk(syntax_tree(source)) if isinstance(node, ast.Constant))
    return {Number(float(value), 0.0) for value in constants if type(value) in (int, float)}


def syntax_tree(source):
    """The syntax tree of a code cell, without its lines for IPython (%, !)."""
    return ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source))


def sentence_at(text, place):
    """The sentence around a place in the text, on one line."""
    ends = [match.end() for match in re.finditer(r"[.!?:](?=\s)|\n\s*\n", text)]
    start = max([end for end in ends if end <= place], default=0)
    end = min([end for end in ends if end > place], default=len(text))
    return " ".join(text[start:end].split())
