"""A person at Label Studio's pages: the form, the list of projects, the labelling screen. By mouse and keys, as people do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from annotators.label_studio.accounts import Account
from annotators.label_studio.results import VERDICTS

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Locator, Page, Request, Response

SECOND_MS = 1000
READ = ".qac .question .lsf-richtext__container, .qac .col .lsf-richtext__container"


class LabellingPage:
    """One person in one browser window. url: of the server.

    foreign: addresses elsewhere that the pages asked for. dialogs: what popped up outside of the pages.
    """

    def __init__(self, page: "Page", url: str) -> None:
        self.page, self._url = page, url
        self.foreign: list[str] = []
        self.dialogs: list[str] = []
        page.set_default_timeout(20 * SECOND_MS)
        page.on("request", self._note_request)
        page.on("dialog", self._note_dialog)

    def log_in(self, account: Account) -> None:
        """By the form; ends at the list of projects."""
        self.page.goto(f"{self._url}/projects/")
        self.page.fill("input[name=email]", account.user_name)
        self.page.fill("input[name=password]", account.password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(f"{self._url}/projects/**")

    def open(self, project_id: int) -> None:
        """From the list of projects to the list of its tasks."""
        self.page.goto(f"{self._url}/projects/")
        self.page.locator(f'a[href="/projects/{project_id}/data"]').first.click()
        self.page.get_by_text("Label All Tasks").wait_for()

    def start(self) -> None:
        """Begin to label; the instructions, which come first, stay open."""
        self.page.get_by_text("Label All Tasks").click()
        self.instructions.wait_for()

    def close_instructions(self) -> None:
        """By the key, and wait until the screen can be clicked."""
        self.instructions.wait_for()
        self.page.keyboard.press("Escape")
        self.instructions.wait_for(state="hidden")
        self._settle()

    def reload(self) -> None:
        """As by the browser's button; Label Studio shows the instructions again."""
        self.page.reload()
        self.close_instructions()

    @property
    def instructions(self) -> "Locator":
        """What is shown before the first task."""
        return self.page.get_by_text("Labeling Instructions")

    @property
    def area(self) -> "Locator":
        """Where the correction is written."""
        return self.page.locator(".qac textarea")

    @property
    def text(self) -> str:
        """What stands in the text area."""
        return self.area.input_value()

    @property
    def shown(self) -> list[str]:
        """The texts that the screen shows: the question, the answer, and what else there is to read."""
        return [one.inner_text() for one in self.page.locator(READ).all()]

    @property
    def chosen(self) -> str | None:
        """The verdict whose button is on."""
        found = self.page.locator(".qac .verdict input:checked")
        return found.get_attribute("name") if found.count() else None

    def press(self, *keys: str) -> None:
        """Keys, one after another."""
        for key in keys:
            self.page.keyboard.press(key)

    def choose(self, verdict: str, key: str = "") -> None:
        """By its key, once more where the screen did not listen yet: a person would see that."""
        key = key or str(VERDICTS.index(verdict) + 1)
        for _ in range(20):
            self.press(key)
            self.page.wait_for_timeout(SECOND_MS / 4)
            if self.chosen == verdict:
                return
        raise AssertionError(f"{verdict} cannot be chosen by the key {key}")

    def write(self, text: str) -> None:
        """Click into the text and add to its end; leave it as people leave a field."""
        self.area.click()
        self.press("Control+End")
        self.page.keyboard.insert_text(text)
        self.press("Tab")

    def open_diff(self) -> None:
        """What the draft, or somebody, changed."""
        self.page.locator(".qac .ant-collapse-header").click()
        self.page.locator(".qac .diff").wait_for()

    def submit(self) -> None:
        """By the key, and wait until the next task, or the end of all tasks, is on the screen."""
        number = self.page.locator(".lsf-current-task__task-id").inner_text()
        self.press("Control+Enter")
        self.page.wait_for_function(
            """number => {
                const task = document.querySelector('.lsf-current-task__task-id');
                const is_next = task && task.innerText !== number && document.querySelector('.qac textarea');
                return is_next || document.body.innerText.includes('No More Tasks');
            }""",
            arg=number,
        )
        self._settle()

    @contextmanager
    def saving(self) -> Iterator[None]:
        """What is done in this block is kept on the server as a draft before the block ends."""

        def is_draft(response: "Response") -> bool:
            return "/drafts" in response.url and response.request.method in {"POST", "PATCH"}

        with self.page.expect_response(is_draft, timeout=20 * SECOND_MS):
            yield

    def _settle(self) -> None:
        """A new task is on the screen some time before it listens to keys, and nothing shows when it does."""
        self.page.wait_for_timeout(SECOND_MS)

    def _note_request(self, request: "Request") -> None:
        if not request.url.startswith((f"{self._url}/", "data:", "blob:")):
            self.foreign.append(request.url)

    def _note_dialog(self, dialog: "Dialog") -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()
