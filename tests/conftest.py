"""Settings of pytest that stand in no configuration file; `test_notebooks_run.py` lays it beside its copies, too."""


def pytest_itemcollected(item):
    """nbval gives a cell five seconds between two messages, which is short where two notebooks share two cores."""
    if hasattr(item, "output_timeout"):
        item.output_timeout = 120
