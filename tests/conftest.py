"""Settings of pytest that stand in no configuration file; `test_notebooks_run.py` lays it beside its copies, too."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Where several processes share the tests, each takes a whole file with its fixtures, or one of the notebooks."""
    for item in items:
        if item.path.name != "test_notebooks_run.py":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_itemcollected(item):
    """nbval gives a cell five seconds between two messages, which is short where two notebooks share two cores."""
    if hasattr(item, "output_timeout"):
        item.output_timeout = 120
