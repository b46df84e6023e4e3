"""The pictures of the annotators' guide, from a real Label Studio: `python -m tests.screenshots docs/images`."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from annotators.label_studio.accounts import Account, add_user
from annotators.label_studio.client import LabelStudio
from annotators.label_studio.local import Server, running
from annotators.label_studio.screens import Step, instruction, screen
from annotators.label_studio.tasks import PersonTask, as_json
from annotators.principles import chosen
from tests.browser import chromium
from tests.labelling_page import LabellingPage

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZE = {"width": 1280, "height": 800}
COLOURS = 128
STILL_MS = 800
"""Until nothing on the page moves any more."""

TASKS = [
    (
        "How do I keep cut tulips fresh for longer?",
        "Cut the stems straight across and put the tulips into warm water with a little sugar. Place the vase in full "
        "sun. Change the water every week.",
        "Cut the stems at an angle and put the tulips into cool water. Place the vase away from direct sun. Change the "
        "water every two days.",
    ),
    ("What is the capital of Australia?", "The capital of Australia is Canberra.", None),
    ("Who wrote the opera The Magic Flute?", "Mozart wrote the music, and Emanuel Schikaneder the text.", None),
]
"""Question, answer and draft; written by hand. None: the draft is the answer."""


def main(argv: list[str] | None = None) -> int:
    """Write all pictures into the folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description="Make the guide's pictures.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, running(Path(home)) as server:
        person = add_user(server.url, server.account.token, "robin@example.com", "a-password-of-robin")
        project_id = _project(server)
        with chromium() as browser:
            page = LabellingPage(browser.new_page(viewport=SIZE), server.url)
            for name in _walk(page, person, project_id):
                _picture(page.page, folder / f"label-studio-{name}.png")
            for step, project_id in _others(server):
                page.open(project_id)
                page.start()
                page.close_instructions()
                page.open_diff()
                _picture(page.page, folder / f"label-studio-{step}.png")
    return 0


def _project(server: Server) -> int:
    with LabelStudio(server.url, server.account.token) as client:
        tasks = [
            PersonTask(f"task-{number}", f"pair-{number}", question, answer, draft or answer)
            for number, (question, answer, draft) in enumerate(TASKS)
        ]
        return _made(client, "Corrections, first batch", tasks)


def _made(client: LabelStudio, title: str, tasks: list[PersonTask]) -> int:
    step, texts = tasks[0].step, len(tasks[0].texts)
    told = instruction(step, chosen(("helpful", "harmless", "honest"), Path()))
    project_id = int(client.create_project(title, screen(step, texts), told, overlap=1)["id"])
    client.import_tasks(project_id, [as_json(task) for task in tasks])
    return project_id


def _others(server: Server) -> Iterator[tuple[Step, int]]:
    """A project of each other step, with one task."""
    question, answer, draft = TASKS[0]
    text = draft or answer
    tasks = [
        PersonTask("task", "pair", question, answer, text, Step.HELPFUL, harmless=text),
        PersonTask("task", "pair", question, answer, text, Step.INSPECT),
        PersonTask("task", "pair", question, answer, text, Step.AGAIN, note="Say what to do about the sugar, too."),
        PersonTask("task", "pair", question, answer, answer, Step.ADJUDICATE, texts=(text, f"{answer} Good luck!")),
    ]
    with LabelStudio(server.url, server.account.token) as client:
        for task in tasks:
            yield task.step, _made(client, f"Corrections, {task.step}", [task])


def _walk(page: LabellingPage, person: Account, project_id: int) -> Iterator[str]:
    """Through a person's first minutes; the name of each picture when it is to be taken."""
    page.log_in(person)
    page.page.locator(f'a[href="/projects/{project_id}/data"]').first.wait_for()
    yield "projects"
    page.open(project_id)
    yield "tasks"
    page.start()
    yield "instructions"
    page.close_instructions()
    yield "start"
    page.write(" Tulips go on growing in the vase, so give them room.")
    page.choose("major")
    page.press("f", "i", "q", "q", "q", "q", "w", "w", "w", "w", "w", "e", "e")
    yield "edited"
    page.open_diff()
    yield "diff"


def _picture(page: "Page", path: Path) -> None:
    """A small picture: few colours are enough for a page."""
    from PIL import Image

    page.mouse.move(0, 0)
    page.wait_for_timeout(STILL_MS)
    page.screenshot(path=path)
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(COLOURS)
    few.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
