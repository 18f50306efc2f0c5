"""What every test run needs: corpora fetched before the notebooks start, no progress recorded."""

import os

import pytest


def pytest_configure(config):
    """Kernels inherit this: what a test run finds is not what the learner has done."""
    os.environ["COURSE_PROGRESS"] = "off"


def pytest_sessionstart(session):
    """Fetch the corpora once, in one process, so that no notebook shows a download."""
    if hasattr(session.config, "workerinput"):  # a worker of pytest-xdist: the first process did it
        return
    from lib.course import corpora

    try:
        corpora.prefetch()
    except corpora.CorpusError as error:
        pytest.exit(str(error), returncode=3)
