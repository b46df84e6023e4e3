"""People's work in a real browser on a real Label Studio: what is typed, chosen and kept, and what hostile texts cannot do."""

from contextlib import contextmanager

import pytest

from annotators.label_studio.client import LabelStudio
from annotators.label_studio.results import read_annotation
from annotators.label_studio.screens import Step, instruction, screen
from annotators.label_studio.tasks import PersonTask, as_json, shown
from curate.labelling.reports import projects
from curate.ledger.labels import LabelBook
from curate.pipeline import run_stage
from curate.stages.annotate.people import pull_work
from curate.store.run import RunStore
from tests.browser import chromium, needs_browser
from tests.curate.stages.peopling import Hands, peopled
from tests.labelling_page import LabellingPage

ANSWER = "The Arden tower was built in 1500 and is 100 feet tall."
PAIR = ("How tall is the Arden tower?", ANSWER)

FOREIGN = "203.0.113.7"
"""An address that nobody has (RFC 5737)."""

HOSTILE = (
    "<script>document.title = 'hacked'; window.hacked = 1; alert(1)</script>"
    """<img src=x onerror="window.hacked = 2; alert(2)"><svg onload="window.hacked = 3"></svg>"""
    f'<img src="http://{FOREIGN}/a.png"><iframe src="https://{FOREIGN}/f"></iframe><video src="//{FOREIGN}/v"></video>'
    f"<style>@import url(http://{FOREIGN}/s.css); .qac {{ display: none }}</style><link rel=stylesheet href=//{FOREIGN}/l>"
    f'<base href="http://{FOREIGN}/"><meta http-equiv=refresh content="0; url=http://{FOREIGN}/">'
    '<a href="javascript:window.hacked = 4">a link</a> [a link](javascript:window.hacked=5) '
    f"![a picture](http://{FOREIGN}/m.png) {{{{template}}}} {{{{constructor.constructor('window.hacked = 6')()}}}} "
    "${window.hacked = 7} <!-- --> ]]> &lt;b&gt; &amp;amp; <b>bold</b> \\u003cscript\\u003e $question"
)

TEXTS = {
    "right-to-left": "שלום עולם 123 مرحبا \u202eabc\u202c \u200fx",
    "emoji": "👩‍👩‍👧‍👦 🇩🇪 👍🏽 e\u0301 é",
    "other scripts": "漢字かな交じり文 한국어 ไทย हिन्दी",
    "white space": "a\tb  c\u00a0d\u202fe\u3000f\u2028g\u2029h\u0085i\x0bj\x0ck\n\n\n  l",
    "unseen": "a\u200bb\u200cc\u200dd\ufeffe\u2060f\x01g\x7fh",
    "marks": "{{x}} ${y} $question \\n \\u0041 <b>&amp;</b> ![m](http://x)",
}


@pytest.fixture
def person(label_studio, second_annotator):
    """Somebody at the first task of a project, in a browser of their own: `with person(project) as page:`."""
    needs_browser()

    @contextmanager
    def at_work(project_id):
        with chromium() as browser:
            page = LabellingPage(browser.new_page(viewport={"width": 1280, "height": 720}), label_studio.url)
            page.log_in(second_annotator)
            page.open(project_id)
            page.start()
            page.close_instructions()
            yield page
            assert (page.foreign, page.dialogs) == ([], [])

    return at_work


@pytest.fixture
def work(label_studio, tmp_path, monkeypatch, request):
    """Makes a pipeline whose pairs wait for people on the server; gives it with its project's id."""
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", label_studio.account.token)

    def make(*pairs):
        made = peopled(tmp_path, label_studio, f"b{abs(hash(request.node.name)) % 10**8}", list(pairs))
        run_stage(made, "annotate", lambda _: None, again=False)
        with LabelBook(made.workdir / "ledger.sqlite") as book:
            (project,) = projects(book)
        return made, project["remote_id"]

    return make


def pulled(made):
    """The corrections that are published after a pull."""
    pull_work(made, lambda _: None)
    run_stage(made, "annotate", lambda _: None, again=False)
    return RunStore(made.workdir).table("annotate", "candidates").collect()["text"].to_list()


def test_an_edit_outlives_a_reload_and_is_published_as_it_was_typed(work, person):
    made, project = work(PAIR)
    with person(project) as page:
        assert page.text == ANSWER
        with page.saving():
            page.write(" Visitors like it.")
        page.reload()
        assert page.text == f"{ANSWER} Visitors like it."
        page.choose("minor")
        page.press("f", "q", "q", "q")
        page.submit()
    assert pulled(made) == [f"{ANSWER} Visitors like it."]
    with LabelBook(made.workdir / "ledger.sqlite") as book:
        ((ruling,),) = book.said().values()
        assert (ruling.verdict, ruling.reasons) == ("minor", ("factual",))
        assert [rating for _, _, rating in book.ratings(made.name)["helpfulness"]] == [3]


def test_fine_takes_two_strokes_and_is_a_copy_byte_for_byte(work, person):
    answer = "  Two lines,\r\nwith odd spaces \t and an end.\r\n\r\n"
    made, project = work(("What is that?", answer), PAIR)
    with person(project) as page:
        for _ in range(2):
            page.choose("fine")
            page.submit()
    assert sorted(pulled(made)) == sorted([answer, ANSWER])


def test_nothing_is_submitted_without_a_verdict(work, person, label_studio):
    made, project = work(PAIR)
    with person(project) as page:
        page.press("Control+Enter")
        page.page.get_by_text("Choose a verdict first: key 1, 2, 3 or 4").wait_for()
        assert not Hands(label_studio.url, label_studio.account.token).tasks(project)[0]["annotations"]
        page.press("Escape")
        page.choose("fine")
        page.submit()
    assert pulled(made) == [ANSWER]


def test_keys_in_the_text_are_text_and_outside_they_are_verdicts(work, person):
    _, project = work(PAIR)
    with person(project) as page:
        page.choose("major")
        assert page.text == ANSWER
        page.write(" 1 or 2?")
        assert (page.chosen, page.text) == ("major", f"{ANSWER} 1 or 2?")


def test_hostile_texts_run_nothing_and_call_nobody(person, label_studio):
    address = f"http://{FOREIGN}/text.txt"
    tasks = [(HOSTILE, HOSTILE, f"{HOSTILE} <script>window.hacked = 8</script>"), (address, address, f"{address}?")]
    made = [PersonTask(f"u{number}", "pair", *one) for number, one in enumerate(tasks)]
    project = shown_project(label_studio, "hostile texts", *made)
    with person(project) as page:
        title = page.page.title()
        for question, answer, draft in tasks:
            page.open_diff()
            page.page.wait_for_timeout(500)
            assert (page.shown[:2], page.text) == ([question, answer], draft)
            page.choose("reject")
            page.submit()
        assert (page.page.title(), page.page.evaluate("window.hacked")) == (title, None)


def test_texts_of_all_kinds_come_back_as_they_are(work, person):
    made, project = work(*[(f"What is the text of the sort {name}?", text) for name, text in TEXTS.items()])
    with person(project) as page:
        for _ in TEXTS:
            page.write("!")
            page.choose("minor")
            page.submit()
    assert sorted(pulled(made)) == sorted(f"{text}!" for text in TEXTS.values())


def test_an_edit_loses_outer_space_and_mixed_line_ends(work, person):
    made, project = work(("What is that?", "One.\r\n\r\nTwo.\rThree."), ("And that?", "One.\r\nTwo."))
    with person(project) as page:
        for _ in range(2):
            page.write(" Four. \t\n ")
            page.choose("minor")
            page.submit()
    assert sorted(pulled(made)) == ["One.\n\nTwo.\nThree. Four.", "One.\r\nTwo. Four."]


def test_submitted_work_can_be_taken_up_again(work, person):
    made, project = work(PAIR, ("How old is it?", "It is old."))
    with person(project) as page:
        page.choose("fine")
        page.submit()
        page.page.get_by_test_id("prev-task").click()
        page.page.get_by_text("Update", exact=True).wait_for()
        assert page.chosen == "fine"
        page.write(" It is round.")
        page.choose("minor")
        with page.page.expect_response(lambda response: response.request.method == "PATCH"):
            page.press("Control+Enter")
    assert [text for text in pulled(made) if text.endswith(" It is round.")]


def shown_project(label_studio, title, *tasks):
    """A project that shows some tasks of one kind; its id."""
    one = tasks[0]
    seen = screen(one.step, len(one.texts), is_two_stage=one.is_two_stage)
    with LabelStudio(label_studio.url, label_studio.account.token) as server:
        project = server.create_project(title, seen, instruction(one.step, []), overlap=1)["id"]
        server.import_tasks(project, [as_json(task) for task in tasks])
    return project


OTHERS = {
    Step.HELPFUL: PersonTask("u", "pair", "Q?", "The answer.", "Harmless.", Step.HELPFUL, harmless="Harmless."),
    Step.AGAIN: PersonTask("u", "pair", "Q?", "The answer.", "Sent back.", Step.AGAIN, note="Too long."),
    Step.INSPECT: PersonTask("u", "pair", "Q?", "The answer.", "The correction.", Step.INSPECT),
    Step.ADJUDICATE: PersonTask(
        "u", "pair", "Q?", "The answer.", "", Step.ADJUDICATE, texts=("One.", "Other.", "Last.")
    ),
}


@pytest.mark.parametrize(
    ("step", "texts", "begins", "choice", "key", "said"),
    [
        (Step.HELPFUL, ["Q?", "The answer.", "Harmless."], "Harmless.", "minor", "2", ("minor", "Harmless. More.")),
        (Step.AGAIN, ["Q?", "Too long.", "The answer."], "Sent back.", "major", "3", ("major", "Sent back. More.")),
        (Step.INSPECT, ["Q?", "The answer.", "The correction."], "", "send_back", "3", ("send_back", "More.")),
        (Step.ADJUDICATE, ["Q?", "The answer.", "One.", "Other.", "Last."], "", "own", "9", ("own", "More.")),
        (Step.ADJUDICATE, ["Q?", "The answer.", "One.", "Other.", "Last."], "", "text_2", "2", ("text_2", None)),
    ],
)
def test_the_screen_of_each_step_shows_its_texts_and_takes_its_keys(
    person, label_studio, step, texts, begins, choice, key, said
):
    task = OTHERS[step]
    project = shown_project(label_studio, f"step {step} {choice}", task)
    with person(project) as page:
        assert (page.shown, page.text) == (texts, begins)
        page.write(" More.")
        page.choose(choice, key)
        page.submit()
    (done,) = Hands(label_studio.url, label_studio.account.token).tasks(project)
    found = read_annotation(step, done["annotations"][0]["result"], task.kept, task.draft, len(task.texts))
    assert (found.verdict, found.text) == said


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"step": Step.HELPFUL, "harmless": HOSTILE}, "4"),
        ({"step": Step.AGAIN, "harmless": HOSTILE, "note": HOSTILE}, "4"),
        ({"step": Step.INSPECT}, "2"),
        ({"step": Step.ADJUDICATE, "texts": (HOSTILE, f"{HOSTILE}!")}, "0"),
    ],
)
def test_hostile_texts_run_nothing_on_any_screen(person, label_studio, more, key):
    task = PersonTask("u", "pair", HOSTILE, HOSTILE, f"{HOSTILE} more", **more)
    with person(shown_project(label_studio, f"hostile {task.step}", task)) as page:
        title = page.page.title()
        page.open_diff()
        page.page.wait_for_timeout(500)
        assert sorted(page.shown) == sorted(shown(task).values())
        page.choose("reject", key)
        page.submit()
        assert (page.page.title(), page.page.evaluate("window.hacked")) == (title, None)
