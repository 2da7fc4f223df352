"""One browser for all tests of pages, because its start takes seconds."""

import pytest

from tests.support.browser import Browser


@pytest.fixture(scope="session")
def chromium():
    opened = Browser()
    yield opened
    opened.close()


@pytest.fixture
def browser(chromium):
    """The browser, without what an earlier test has asked of it."""
    chromium.requests.clear()
    chromium.faults.clear()
    return chromium
