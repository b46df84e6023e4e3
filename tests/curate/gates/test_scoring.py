"""Scores stand in the rows' order, copies pass everything, and no text breaks or stalls a gate."""

import json
import random
import time

import polars as pl
import pytest

from curate.gates.bounds import default_bounds
from curate.gates.registry import all_gates, find_gates
from curate.gates.scoring import score
from curate.rules.judging import judge
from tests.curate.gates.conftest import CONTEXT, INSTRUCTION, rows
from tests.elsewhere import printed_elsewhere

SOUND = {
    "question": "How long do eggs boil?",
    "answer": "Eggs boil for ten minutes. Then put them into cold water, so that they stop cooking and peel well.",
    "correction": "Eggs boil for eight minutes. Then put them into cold water, so that they stop cooking and peel well.",
}
FAULTY = [
    SOUND | {"correction": " \n"},
    SOUND | {"correction": "I'm sorry, but I can't help with that.", "is_flagged": False},
    SOUND | {"correction": "Here is the corrected answer: eight minutes."},
    SOUND | {"correction": "Eight minutes.</correction>"},
    SOUND | {"correction": f"Eight minutes. {INSTRUCTION}"},
    SOUND | {"correction": "Eggs boil for eight minutes and"},
    SOUND | {"correction": "Write to anna.petrova@gmail.com."},
    SOUND | {"correction": SOUND["answer"] * 20},
]
HOSTILE = [
    "\x00", "\n", "\n" * 100_000, "a" * 100_000, "(" * 100_000, "a@" * 50_000, "``" * 50_000, "no change " * 10_000,
    "$&\\1(?i)[a-z]*+{{}}%s{0}", "<correction>" * 8_000, "i'm sorry, but " * 7_000, " " * 100_000 + "I cannot help.",
    "[" + "x " * 50_000, "1234 " * 20_000, "the " * 25_000, "\N{REPLACEMENT CHARACTER}\u202e\ud7ff", "水" * 30_000,
]  # fmt: skip


def dropped(*cases: dict[str, object]) -> list[tuple[str, str]]:
    verdicts = judge(score(rows(*cases), all_gates(), CONTEXT), default_bounds(), "annotate")
    return verdicts.select("row_id", "rule").rows()


def test_a_sound_correction_passes_every_gate():
    assert dropped(SOUND) == []


@pytest.mark.parametrize("faulty", FAULTY, ids=lambda case: case["correction"][:20])
def test_a_faulty_correction_is_dropped(faulty):
    assert dropped(faulty)


@pytest.mark.parametrize(
    "text", [*(case["correction"] for case in FAULTY), *HOSTILE, "3", "<answer>", "I cannot help."]
)
def test_a_copy_passes_every_gate_whatever_its_text_is(text):
    copy = {"answer": text, "correction": text}
    assert dropped(copy, copy | {"is_flagged": True}) == []


def test_a_copy_scores_what_its_gate_calls_unchanged():
    scores = score(rows({"answer": "No.", "correction": "No."}), all_gates(), CONTEXT)
    assert scores.row(0, named=True) == {"row_id": "c0"} | {name: gate.unchanged for name, gate in all_gates().items()}


def test_an_empty_table_gives_empty_columns():
    scores = score(rows(), all_gates(), CONTEXT)
    assert scores.schema == {"row_id": pl.String} | dict.fromkeys(all_gates(), pl.Float64)
    assert scores.is_empty()
    assert judge(scores, default_bounds(), "annotate").is_empty()


def test_no_gates_give_the_ids_alone():
    assert score(rows(SOUND), {}, CONTEXT).to_dict(as_series=False) == {"row_id": ["c0"]}


def test_columns_stand_in_the_order_that_was_asked_for():
    assert score(rows(SOUND), find_gates(["size.ratio", "edit.share"]), CONTEXT).columns == [
        "row_id",
        "size.ratio",
        "edit.share",
    ]


def test_the_order_of_rows_changes_no_score():
    table = rows(SOUND, *FAULTY, {"answer": "Same.", "correction": "Same."}, SOUND)
    shuffled = table.sample(fraction=1, shuffle=True, seed=3)
    forward, other = (score(one, all_gates(), CONTEXT) for one in (table, shuffled))
    assert other["row_id"].equals(shuffled["correction_id"].rename("row_id"))
    assert forward.sort("row_id").equals(other.sort("row_id"))


def test_a_row_scores_the_same_alone_and_among_others():
    cases = [SOUND, *FAULTY]
    together = score(rows(*cases), all_gates(), CONTEXT).drop("row_id").rows()
    assert together == [score(rows(case), all_gates(), CONTEXT).drop("row_id").row(0) for case in cases]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_scored_in_time(text):
    backwards = text[::-1] + "."
    table = rows(
        {"correction": text},
        {"answer": text, "correction": backwards},
        {"question": text, "turns": [{"role": "user", "text": text}], "answer": backwards, "correction": text},
    )
    started = time.process_time()
    scores = score(table, all_gates(), CONTEXT)
    assert time.process_time() - started < 10
    for name in all_gates():
        assert scores[name].is_finite().all(), name


def test_columns_that_are_not_known_change_nothing():
    table = rows(SOUND, *FAULTY)
    more = table.with_columns(position=pl.lit(0), seen=pl.lit(""), index=pl.lit(1))
    assert score(more, all_gates(), CONTEXT).equals(score(table, all_gates(), CONTEXT))


def test_null_texts_count_as_empty():
    scores = score(rows({"correction": None, "turns": None, "question": None}), all_gates(), CONTEXT)
    assert scores["size.characters"].item() == 0


def test_scores_do_not_depend_on_hash_seed_and_threads():
    code = (
        "import random, polars as pl\n"
        "from curate.gates.registry import all_gates\nfrom curate.gates.scoring import score\n"
        "from tests.curate.gates.conftest import CONTEXT, rows\nfrom tests.curate.gates.test_scoring import FAULTY, mixed\n"
        "print(score(rows(*mixed()), all_gates(), CONTEXT).write_json())"
    )
    outputs = printed_elsewhere(code)
    assert len(outputs) == 1
    assert len(json.loads(outputs.pop())) == 300


def mixed() -> list[dict[str, object]]:
    """300 rows of all kinds, some in other languages."""
    draw = random.Random(5)
    german = "Eier kochen acht Minuten lang. Danach legt man sie in kaltes Wasser, damit sie nicht weiter garen."
    return [
        draw.choice([SOUND, *FAULTY, SOUND | {"correction": f"{german} {number}"}]) | {"is_flagged": number % 3 == 0}
        for number in range(300)
    ]
