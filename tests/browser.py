"""A real Chromium, for the tests and pictures that need one: Debian's, never one that is downloaded behind our back."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.debian import install

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",  # root in a container has none
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class NoBrowserError(Exception):
    """There is no Chromium, and none could be installed; the text tells why."""


def installed_chromium() -> Path:
    """The browser's program. Where there is none, root installs Debian's once. Raises NoBrowserError."""
    why_not = "" if _found() else install("chromium", lambda: _found() is not None)
    found = _found()
    if found is None:
        raise NoBrowserError(f"none of {', '.join(NAMES)} is in PATH; {why_not}")
    return found


@contextmanager
def chromium() -> Iterator["Browser"]:
    """A running browser without a window; scroll bars are drawn as people see them. Raises NoBrowserError.

    Playwright keeps an event loop at work in this thread: nothing that runs one of its own, such as a stage, may be
    called before the block ends.
    """
    from playwright.sync_api import sync_playwright

    program = installed_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=ARGUMENTS, ignore_default_args=["--hide-scrollbars"]
        )
        try:
            yield browser
        finally:
            browser.close()


def needs_browser() -> None:
    """Skip, and say so, where there is no browser and none can be installed."""
    try:
        installed_chromium()
    except NoBrowserError as error:
        pytest.skip(f"NOT TESTED IN A BROWSER: {error}")


def _found() -> Path | None:
    return next((Path(path) for name in NAMES if (path := shutil.which(name)) is not None), None)
