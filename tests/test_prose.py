"""The checker of numbers in the notebooks' text finds what it should find, and nothing else."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from prose import unfounded


def found(text, output="", code="", tags=(), data=None):
    outputs = [new_output("stream", text=output)] if output else []
    if data:
        outputs.append(new_output("display_data", data=data))
    cells = [new_code_cell(code, outputs=outputs), new_markdown_cell(text, metadata={"tags": list(tags)})]
    return [finding.number for finding in unfounded(new_notebook(cells=cells))]


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("It takes 8.4 times as long.", "ratio 8.4"),
        ("It takes 8.4 times as long.", "ratio 8.3961"),
        ("It takes 8 times as long.", "ratio 8.3961"),
        ("It has 2,386,084 parameters.", "2386084"),
        ("It has 2386084 parameters.", "2,386,084"),
        ("It has 2.4 M parameters.", "2,386,084"),
        ("It has 2.4 million parameters.", "2.386 M"),
        ("It takes 300.8 M multiply-adds.", "multiply-adds (M): 300.8"),
        ("It stores 9.5 MB.", "9,544,336 bytes"),
        ("It is right in 94.4 % of them.", "top-1 0.944"),
        ("It is right in 94.4% of them.", "top-1 0.94419"),
        ("It is right in 94 per cent.", "94.4%"),
        ("A fraction of 0.944.", "94.4%"),
        ("It falls by 0.5.", "-0.5"),
        ("It has about 2,400 pictures.", "2386"),
        ("It takes 150 ms.", "0.1503 s"),
        ("The rate is 0.0001.", "1e-04"),
        ("A picture of 224 px and a batch of 32.", "(32, 224, 224, 3)"),
    ],
)
def test_a_number_that_a_cell_prints_is_founded(text, output):
    assert found(text, output) == []
    assert found(text, "nothing of the kind") != []  # the same text alone is not


@pytest.mark.parametrize(
    ("text", "output", "number"),
    [
        ("It takes 8.5 times as long.", "ratio 8.4", "8.5"),
        ("It takes 8.40 times as long.", "ratio 8.4", "8.40"),  # a digit that nobody printed
        ("It has 2,386,085 parameters.", "2,386,084", "2,386,085"),
        ("It has 2.3 M parameters.", "2,386,084", "2.3 M"),
        ("It has 2,400 pictures.", "2386", "2,400"),  # without "about"
        ("It is right in 94.4 % of them.", "top-1 0.94", "94.4 %"),
        ("It is right in 94.42 %.", "94.4%", "94.42 %"),
        ("It is right in 94 %.", "94,000", "94 %"),
        ("All 100 classes.", "cifar100 of CIFAR-100", "100"),
        ("In 2018 that was much.", "", "2018"),
        ("- Two\n- 17 pictures", "", "17"),
        ("| a | 17 |\n", "", "17"),
        ("### All 17 layers", "", "17"),
    ],
)
def test_a_number_that_no_cell_prints_is_found(text, output, number):
    assert found(text, output) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "Say `make_divisible(17)` and $17 \\cdot h$ and $$\n17\n$$ and [17 layers](https://example.org/17).",
        "```python\nmadds = 17\n```",
        "Table 2, Tables 3 and 4, Figure 3b, section 6.1, equation 2, arXiv 1801.04381 or arXiv:1801.04381.",
        "See notebook 03, and notebooks 04 to 06.",
        "CIFAR-100, Shapes-100, MobileNetV2, ReLU6, top-5, float32, block_17.",
        "1. First.\n2. Second.\n17) Last.",
        "**17.** An exercise.",
        "A text.\n\n**17. Another.** And its question.",
        '<details open="17"><summary>Solution</summary>',
        "*Measured cost: 17.3 minutes on a two-core CPU; download 17 MB; disk 17 MB (x86-64, 17 cores; Keras 17.1).*",
    ],
)
def test_what_is_no_result_is_not_looked_at(text):
    assert found(text) == []


def test_a_literal_in_the_code_founds_a_number():
    assert found("With a rate of 0.045 and 32 channels.", code="%time 3\ntrain(rate=0.045, channels=32)") == []
    assert found("With a rate of 0.046.", code="train(rate=0.045)") == ["0.046"]


def test_a_table_in_html_founds_a_number_and_its_tags_do_not():
    data = {"text/html": "<td width=17>18</td>"}
    assert found("It is 18.", data=data) == []
    assert found("It is 17.", data=data) == ["17"]


def test_the_size_of_a_figure_founds_nothing():
    data = {"image/png": "", "text/plain": "<Figure size 800x320 with 2 Axes>"}
    assert found("All 800 pictures.", data=data) == ["800"]


@pytest.mark.parametrize(
    ("text", "near", "founded"),
    [
        ("It takes 17 steps.", True, True),
        ("It takes 17 steps.", False, False),
        ("It takes 0.17 seconds.", False, False),
        ("It takes 1.7 million steps.", False, False),
        ("It takes 1.70 seconds.", False, True),  # three digits are no chance
    ],
)
def test_a_short_number_must_be_shown_near_by(text, near, founded):
    def shown():
        return new_code_cell("", outputs=[new_output("stream", text="17 steps, 0.17 s, 1.7 M steps, 1.70 s")])

    def headings(count):
        return [new_markdown_cell("Before.\n\n## Another section") for _ in range(count)]

    above = [shown(), *headings(6 - near), new_markdown_cell(text)]
    below = [new_markdown_cell(text), *headings(2 - near), shown()]
    for cells in (above, below):
        assert (unfounded(new_notebook(cells=cells)) == []) == founded


@pytest.mark.parametrize("heading", ["", "Before.\n\n### Another section", "# A title"])
def test_near_by_is_the_whole_section(heading):
    shown = new_code_cell("", outputs=[new_output("stream", text="17 steps")])
    far = [new_markdown_cell("Text.") for _ in range(6)]
    cells = [new_markdown_cell("## A section"), shown, new_markdown_cell(heading), *far, new_markdown_cell("17 steps.")]
    assert (unfounded(new_notebook(cells=cells)) == []) == ("##" not in heading)


def test_a_cited_number_needs_no_cell():
    assert found("In 2018 it was 74.7 % (arXiv 1801.04381).", tags=["cited"]) == []


def test_a_finding_names_its_cell_and_its_sentence():
    cells = [new_markdown_cell("First. Then it takes 17 minutes\non a laptop. Last.", id="cell-07")]
    [finding] = unfounded(new_notebook(cells=cells))
    assert str(finding) == 'cell-07: no cell shows 17, or none near by: "Then it takes 17 minutes on a laptop."'
