"""Settings of pytest that stand in no configuration file; `test_notebooks_run.py` lays it beside its copies, too."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # processes enough for two cores, so one thread each: they also wait less
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

LONG = ("test_training.py", "test_notebooks_run.py", "test_browser.py", "test_benchmarks.py")


def pytest_collection_modifyitems(items):
    """Files that take minutes come first: where several processes share the tests, all end at about the same time."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share the tests, each takes a whole file with its fixtures, or one of the notebooks."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return nodeid if file.endswith("test_notebooks_run.py") else file

    return ByFile(config, log)


def pytest_itemcollected(item):
    """nbval gives a cell five seconds between two messages, which is short where two notebooks share two cores."""
    if hasattr(item, "output_timeout"):
        item.output_timeout = 120
