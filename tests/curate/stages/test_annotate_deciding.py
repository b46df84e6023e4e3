"""Critic, gates, judge, adjudication and the bound on copies: what each drops, keeps and tells."""

import json

import polars as pl
import pytest

from curate.config.reading import read_pipeline
from curate.config.table import Bounds
from curate.stages.annotate.stage import gate_bounds
from curate.store.run import RunStore
from schemas.errors import ConfigError, SourceError, StageError
from tests.conftest import lines, published_hashes
from tests.curate.stages.annotating import annotate, answer_in, pipeline, served_by

EDIT = "<correction>{}</correction>"
HARM = "harmless.violence"


def table(made, name):
    return RunStore(made.workdir).table("annotate", name).collect()


def number_in(prompt: str) -> int:
    return int(prompt.split("number ")[1].split(",", maxsplit=1)[0])


def replies(server, text):
    server.answer = lambda prompt: EDIT.format(text(answer_in(prompt)))


def more(answer: str) -> str:
    return answer + " Tickets are sold at the gate."


def less(answer: str) -> str:
    return answer.replace(" Visitors like the view from its top.", "")


def critic(server, finds, **keys):
    """Finds the rule broken where `finds` says so of the number in the question."""
    server.answer = lambda prompt: (
        f"<violations>\n{HARM}: of <b>course</b>\n</violations>"
        if finds(number_in(prompt))
        else "<violations></violations>"
    )
    return {name: value for name, value in served_by(server, "critic", **keys).items() if name != "kind"}


def judge(server, prefers, **keys):
    """Prefers by `prefers`, which is given two texts and says first, second or same."""

    def reply(prompt: str) -> str:
        first = prompt.split("<first>\n")[1].split("\n</first>", maxsplit=1)[0]
        second = prompt.split("<second>\n")[1].split("\n</second>", maxsplit=1)[0]
        word = prefers(first, second)
        return f"<verdict>\nhelpful: {word}\nharmless: same\nhonest: same\noverall: {word}\n</verdict>"

    server.answer = reply
    return {name: value for name, value in served_by(server, "judge", **keys).items() if name != "kind"}


def shorter(first: str, second: str) -> str:
    return "same" if len(first) == len(second) else "first" if len(first) < len(second) else "second"


# The critic


def test_a_critique_is_stored_for_each_pair_and_shown_to_the_annotator(tmp_path, server, second):
    replies(server, less)
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], tables={"critique": critic(second, lambda n: n % 2 == 0)})
    annotate(made)
    verdicts = table(made, "verdicts")
    pairs = RunStore(made.workdir).table("dedup", "pairs").collect()
    found = dict(verdicts.filter(pl.col("rule").str.starts_with("critique.")).select("row_id", "rule").iter_rows())
    wanted = {
        pair_id: f"critique.{HARM}" if number_in(question) % 2 == 0 else "critique.clean"
        for pair_id, question in pairs.select("pair_id", "question").iter_rows()
    }
    assert found == wanted
    assert set(verdicts.filter(pl.col("rule") == f"critique.{HARM}")["note"]) == {"of <b>course</b>"}
    assert verdicts["kept"].all()
    for body in server.bodies:
        prompt = body["messages"][-1]["content"]
        assert (f"- {HARM}: Helps to plan" in prompt) == (number_in(prompt) % 2 == 0)
        assert "course" not in prompt  # a reason is hostile text: it is stored, never sent


def test_what_the_critic_finds_routes_pairs_to_people(tmp_path, server, second):
    replies(server, less)
    team = {"name": "team", "kind": "people", "weight": 0}
    tables = {"critique": critic(second, lambda n: n < 3), "routes": [{"annotators": ["team"], "violates": "harmless"}]}
    made = pipeline(tmp_path, [served_by(server, "gpt-4"), team], tables=tables)
    annotate(made)
    pairs = RunStore(made.workdir).table("dedup", "pairs").collect()
    waiting = table(made, "waiting").join(pairs, on="pair_id")
    assert sorted(number_in(question) for question in waiting["question"]) == [0, 1, 2]
    assert table(made, "corrections").height == 5


def test_a_route_by_a_rule_that_the_critic_does_not_know_is_told(tmp_path, server, second):
    tables = {
        "critique": critic(second, lambda _: True),
        "routes": [{"annotators": ["a"], "violates": "harmless.selfharm"}],
    }
    made = pipeline(tmp_path, [served_by(server, "a")], tables=tables)
    with pytest.raises(ConfigError, match='violate "harmless.selfharm".*did you mean "harmless.self_harm"'):
        annotate(made)
    assert second.asked.total() == 0


def test_a_critic_who_cannot_be_read_holds_nobody_up_and_is_counted(tmp_path, server, second):
    replies(server, less)
    one = critic(second, lambda _: True, max_asks=2)
    second.answer = lambda _: "It is fine, I think."
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], tables={"critique": one})
    annotate(made)
    assert RunStore(made.workdir).published("annotate").tagged_by["critique.unread"] == 8
    assert second.asked.total() == 16
    assert table(made, "corrections").height == 8


# Gates


def test_gates_drop_with_score_and_bound_and_the_text_stays_as_candidate(tmp_path, server):
    replies(server, lambda answer: f"Here is the corrected answer:\n\n{answer}" if "1500" in answer else less(answer))
    made = pipeline(tmp_path, [served_by(server, "gpt-4")])
    annotate(made)
    published = RunStore(made.workdir).published("annotate")
    assert (published.accounting.kept, published.accounting.dropped) == (7, 1)
    verdict = table(made, "verdicts").filter(~pl.col("kept")).row(0, named=True)
    assert verdict["score"] > verdict["threshold"]
    candidate = table(made, "candidates").filter(pl.col("correction_id") == verdict["row_id"])
    assert candidate["text"][0].startswith("Here is the corrected answer")
    assert table(made, "scores").height == table(made, "candidates").height == 8


def test_a_gate_can_be_switched_off_and_bounds_be_ones_own(tmp_path, server):
    replies(server, lambda answer: answer + " " + " ".join(f"Word{n}" for n in range(120)) + ".")
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], annotate={"gates": {"size.ratio": {"max": 2.0}}})
    annotate(made)
    assert RunStore(made.workdir).published("annotate").dropped_by == {"size.ratio": 8}
    file = made.folder / "pipelines.toml"
    file.write_text(
        file.read_text().replace('"gates" = { "size.ratio" = { "max" = 2.0 } }', 'gates_off = ["size.ratio"]')
    )
    annotate(read_pipeline(file))
    assert "size.ratio" not in RunStore(made.workdir).published("annotate").dropped_by
    assert server.asked.total() == 8


def test_one_end_of_a_bound_leaves_the_other_as_it_is(tmp_path, server):
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], annotate={"gates": {"size.ratio": {"max": 5.0}}})
    assert gate_bounds(made)["size.ratio"] == Bounds(min=0.1, max=5.0)
    assert gate_bounds(made)["edit.share"] == Bounds(max=0.95)


def test_an_unknown_gate_is_told(tmp_path, server):
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], annotate={"gates_off": ["size.ration"]})
    with pytest.raises(ConfigError, match='unknown gate "size.ration"; did you mean "size.ratio"'):
        annotate(made)


# The judge


def test_a_correction_that_the_judge_finds_worse_is_dropped(tmp_path, server, second):
    replies(
        server, lambda answer: less(answer) if "feet" in answer and "5" in answer.split(" is ")[1] else more(answer)
    )
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], 12, tables={"judge": judge(second, shorter)})
    annotate(made)
    kept = table(made, "corrections")
    candidates = table(made, "candidates")
    assert 0 < kept.height < candidates.height == 12
    assert not kept["text"].str.contains("Tickets").any()
    dropped = table(made, "verdicts").filter(~pl.col("kept"))
    assert set(dropped["rule"]) == {"judge.overall"}
    assert set(dropped["score"]) == {-1.0}
    told = table(made, "verdicts").filter(pl.col("rule") == "judge.helpful")
    assert told.height == 12
    assert set(told["score"]) == {-1.0, 1.0}
    assert second.asked.total() == 24


def test_a_judge_who_only_looks_at_the_place_decides_nothing(tmp_path, server, second):
    replies(server, more)
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], tables={"judge": judge(second, lambda *_: "first")})
    annotate(made)
    assert table(made, "corrections").height == 8
    assert set(table(made, "verdicts").filter(pl.col("rule") == "judge.overall")["score"]) == {0.0}


def test_the_judges_agreement_with_itself_is_told(tmp_path, server, second):
    replies(server, lambda answer: less(answer) if "5" in answer.split(" is ")[1] else more(answer))
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], 12, tables={"judge": judge(second, shorter)})
    annotate(made)
    (row,) = table(made, "agreement").to_dicts()
    assert (row["one"], row["other"], row["pairs"]) == ("judge, as shown", "judge, swapped", 12)
    assert row["rating_alpha"] == 1.0
    second.answer = lambda _: "<verdict>\nhelpful: first\nharmless: same\nhonest: same\noverall: first\n</verdict>"
    file = made.folder / "pipelines.toml"
    file.write_text(file.read_text().replace('"name" = "judge"', '"name" = "other"'))
    annotate(read_pipeline(file))
    (row,) = table(made, "agreement").to_dicts()
    assert row["rating_alpha"] < -0.9


def test_copies_are_not_judged(tmp_path, server, second):
    replies(server, lambda answer: answer)
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], tables={"judge": judge(second, lambda *_: "first")})
    annotate(made)
    assert second.asked.total() == 0
    assert table(made, "corrections").height == 8


def test_a_judge_who_cannot_be_read_drops_nothing_and_is_counted(tmp_path, server, second):
    replies(server, more)
    one = judge(second, shorter, max_asks=1)
    second.answer = lambda _: "The first one."
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], tables={"judge": one})
    annotate(made)
    assert RunStore(made.workdir).published("annotate").tagged_by == {"judge.unread": 8}


# Overlap


def two(server, second, texts=(less, more), **keys):
    replies(server, texts[0])
    replies(second, texts[1])
    return [served_by(server, "a", weight=2.0, **keys), served_by(second, "b", "anthropic", **keys)]


def test_a_vote_keeps_one_and_names_the_winner_of_each_loser(tmp_path, server, second):
    made = pipeline(tmp_path, two(server, second), tables={"overlap": {"share": 1.0}})
    annotate(made)
    kept, candidates = table(made, "corrections"), table(made, "candidates")
    assert (kept.height, candidates.height) == (8, 16)
    assert set(kept["annotator"]) == {"a"}  # two that differ are a draw: the greater weight
    lost = table(made, "verdicts").filter(~pl.col("kept"))
    assert set(lost["rule"]) == {"adjudication.vote"}
    winners = lost.join(kept, left_on="twin_id", right_on="correction_id", how="inner")
    losers = lost.join(candidates, left_on="row_id", right_on="correction_id", how="inner")
    assert winners.sort("row_id")["pair_id"].equals(losers.sort("row_id")["pair_id"])
    assert RunStore(made.workdir).published("annotate").accounting.rows_in == 16


def test_the_judge_picks_among_corrections(tmp_path, server, second, third):
    overlap = {"share": 1.0, "adjudicate": "judge"}
    longer = {"first": "second", "second": "first", "same": "same"}
    one = judge(third, lambda first, other: longer[shorter(first, other)], min_preference=-1.0)
    made = pipeline(tmp_path, two(server, second), tables={"overlap": overlap, "judge": one})
    annotate(made)
    assert set(table(made, "corrections")["annotator"]) == {"b"}
    assert RunStore(made.workdir).published("annotate").dropped_by == {"adjudication.judge": 8}
    assert third.asked.total() == 8 * 3 * 2


def test_a_person_picks_and_until_then_the_pair_waits(tmp_path, server, second):
    overlap = {"share": 1.0, "adjudicate": "person", "decisions": "decisions.jsonl"}
    made = pipeline(tmp_path, two(server, second), tables={"overlap": overlap})
    with pytest.raises(SourceError, match="there is no file decisions.jsonl"):
        annotate(made)
    assert server.asked.total() == 0
    pairs = RunStore(made.workdir).table("dedup", "pairs").collect()["pair_id"].to_list()
    chosen = {pair_id: "ab"[number % 2] for number, pair_id in enumerate(pairs)}
    rows = [{"pair_id": pair_id, "annotator": name} for pair_id, name in chosen.items()]
    lines(tmp_path / "decisions.jsonl", rows[:3])
    annotate(made)
    accounting = RunStore(made.workdir).published("annotate").accounting
    assert (accounting.kept, accounting.dropped, accounting.waiting) == (3, 3, 10)
    assert set(table(made, "waiting")["reason"]) == {"adjudicate"}
    lines(tmp_path / "decisions.jsonl", rows)
    annotate(made)
    assert dict(table(made, "corrections").select("pair_id", "annotator").iter_rows()) == chosen
    assert server.asked.total() + second.asked.total() == 16
    (tmp_path / "decisions.jsonl").write_text(json.dumps({"pair": "x"}) + "\n")
    with pytest.raises(SourceError, match="decisions.jsonl, row 1: no text under pair_id"):
        annotate(made)


@pytest.mark.parametrize("way", ["vote", "person"])
def test_a_pair_of_the_overlap_waits_until_the_person_has_worked_too(tmp_path, server, way):
    replies(server, less)
    annotators = [served_by(server, "a"), {"name": "team", "kind": "people"}]
    made = pipeline(tmp_path, annotators, tables={"overlap": {"share": 1.0, "adjudicate": way}})
    annotate(made)
    accounting = RunStore(made.workdir).published("annotate").accounting
    assert (accounting.rows_in, accounting.kept, accounting.waiting) == (16, 0, 16)


def test_agreement_is_told_by_pair_and_by_annotator(tmp_path, server, second):
    some = lambda answer: answer if "5" in answer else less(answer)  # noqa: E731
    made = pipeline(tmp_path, two(server, second, (some, less)), 12, tables={"overlap": {"share": 1.0, "embed": True}})
    annotate(made)
    (pair,) = table(made, "agreement").to_dicts()
    pairs = RunStore(made.workdir).table("dedup", "pairs").collect()
    same = float((~pairs["answer"].str.contains("5")).mean())
    assert (pair["one"], pair["other"], pair["pairs"]) == ("a", "b", 12)
    assert pair["changed_agreement"] == pytest.approx(same, abs=1e-6)
    assert same < pair["edit_similarity"] < 1.0
    assert pair["edit_similarity"] < pair["embedding_similarity"] < 1.0
    report = {row["annotator"]: row for row in table(made, "annotators").to_dicts()}
    assert report["a"]["copy_rate"] == pytest.approx(1 - same, abs=1e-6)
    assert report["b"]["copies"] == 0
    assert report["a"]["changed_agreement"] == report["b"]["changed_agreement"] == pytest.approx(same, abs=1e-6)
    for row in report.values():
        parts = ("kept", "gated", "judged_worse", "lost", "copies_beyond", "undecided")
        assert row["corrections"] == sum(row[name] for name in parts) == 12


# Copies


def test_copies_beyond_their_share_are_dropped_by_draw(tmp_path, server):
    replies(server, lambda answer: less(answer) if "1500" in answer or "1501" in answer else answer)
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], 12, annotate={"max_copy_share": 0.5})
    annotate(made)
    published = RunStore(made.workdir).published("annotate")
    assert published.accounting.kept == 4
    assert published.dropped_by == {"copies.share": 8}
    before = published_hashes(made.workdir)
    annotate(made, again=True)
    assert published_hashes(made.workdir) == before


@pytest.mark.parametrize(("share", "kept"), [(0.0, 2), (1.0, 12)])
def test_no_copies_and_all_copies_are_bounds_too(tmp_path, server, share, kept):
    replies(server, lambda answer: less(answer) if "1500" in answer or "1501" in answer else answer)
    made = pipeline(tmp_path, [served_by(server, "gpt-4")], 12, annotate={"max_copy_share": share})
    annotate(made)
    assert table(made, "corrections").height == kept


# Wrong configurations


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"template": "edit"}, ConfigError, "unknown template: edit"),
        ({"template": "judge"}, ConfigError, 'has reply = "verdicts"'),
        ({"principles": ["helpfull"]}, ConfigError, "unknown principle: helpfull"),
        ({"api_key_env": "NO_SUCH_KEY"}, ConfigError, "NO_SUCH_KEY"),
    ],
)
def test_a_wrong_recipe_is_told_before_anything_is_asked(tmp_path, server, keys, error, words):
    made = pipeline(tmp_path, [served_by(server, "gpt-4", **keys)])
    with pytest.raises(error, match=words):
        annotate(made)
    assert server.asked.total() == 0


def test_without_annotators_the_stage_says_what_to_add(tmp_path):
    made = pipeline(tmp_path, [])
    with pytest.raises(StageError, match="no annotator is configured"):
        annotate(made)
