"""Corrections by a model over a real socket, and pairs that wait for people."""

import pytest

from curate.config.model import Pipeline
from curate.pipeline import run_all, run_stage
from curate.store.run import RunStore


@pytest.fixture
def annotated(served, server, tmp_path):
    """Runs to the annotate stage with the server as annotator; `reply` makes its text from the answer."""

    def run(reply, people: str = "") -> RunStore:
        pipeline: Pipeline = served(prompts=6)
        for stage in ("filter", "generate", "dedup"):
            run_stage(pipeline, stage, lambda _: None, again=False)
        with (tmp_path / "pipelines.toml").open("a") as file:
            file.write(
                f'[[pipelines.p.annotate.annotators]]\nname = "editor"\nkind = "model"\nprovider = "openai"\n'
                f'base_url = "{server.url}/v1"\n{people}'
            )
        from curate.config.reading import read_pipeline

        server.answer = lambda prompt: reply(prompt.split("<answer>\n")[1].split("\n</answer>")[0])
        pipeline = read_pipeline(tmp_path / "pipelines.toml")
        run_stage(pipeline, "annotate", lambda _: None, again=False)
        return RunStore(pipeline.workdir)

    return run


def test_a_correction_is_the_text_between_the_marks(annotated):
    corrections = annotated(lambda answer: f"Sure! <correction>\n{answer} Exactly.\n</correction>")
    texts = corrections.table("annotate", "corrections").collect()["text"]
    assert texts.str.ends_with(" Exactly.").all()
    assert texts.str.starts_with("Answer to: What is").all()


def test_a_copy_is_kept_as_the_answer_itself(annotated):
    store = annotated(lambda answer: f"<correction>{answer}</correction>")
    pairs = store.table("dedup", "pairs").collect()
    joined = store.table("annotate", "corrections").collect().join(pairs, on="pair_id", validate="1:1")
    assert joined.height == 6
    assert (joined["text"] == joined["answer"]).all()


@pytest.mark.parametrize(
    ("reply", "kind"), [("no marks", "unmarked_correction"), ("<correction> </correction>", "empty_correction")]
)
def test_a_reply_without_a_correction_is_a_failure_row(annotated, reply, kind):
    assert annotated(lambda _: reply).published("annotate").failed_by == {kind: 6}


def test_the_principles_reach_the_model(annotated, server):
    annotated(lambda answer: f"<correction>{answer}</correction>")
    system = server.bodies[-1]["messages"][0]
    assert system["role"] == "system"
    assert all(word in system["content"] for word in ("Helpful:", "Harmless:", "Honest:"))


def test_pairs_for_people_wait_and_are_not_lost(annotated):
    people = '[[pipelines.p.annotate.annotators]]\nname = "team"\nkind = "people"\nweight = 2\n'
    rows = annotated(lambda answer: f"<correction>{answer}</correction>", people).published("annotate").accounting
    assert rows.waiting > 0
    assert rows.kept + rows.waiting == rows.rows_in == 6


def test_a_run_stops_politely_where_people_must_act(annotated, tmp_path):
    from curate.config.reading import read_pipeline

    annotated(
        lambda answer: f"<correction>{answer}</correction>",
        '[[pipelines.p.annotate.annotators]]\nname = "team"\nkind = "people"\n',
    )
    ran = []
    assert not run_all(read_pipeline(tmp_path / "pipelines.toml"), lambda outcome: ran.append(outcome.name))
    assert ran[-1] == "annotate"
