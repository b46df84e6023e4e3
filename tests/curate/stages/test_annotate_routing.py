"""Who gets which pair: weights, routes, quotas, the overlap sample; by seed alone, whatever the order of rows."""

import polars as pl
import pytest

from curate.config.annotating import AnnotateConfig
from curate.identity import content_id
from curate.stages.annotate.routing import plan, within_quotas

COUNT = 8000


def config(*annotators: dict, **keys) -> AnnotateConfig:
    named = [{"kind": "people", **one} for one in annotators]
    return AnnotateConfig.model_validate({"annotators": named, **keys})


PAPER = (
    {"name": "gpt-4", "weight": 56.1},
    {"name": "people", "weight": 35.2},
    {"name": "llama2-70b", "weight": 8.7},
)


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    ids = [content_id("pair", number) for number in range(COUNT)]
    harm = [["harmless.self_harm"] if number % 10 == 0 else [] for number in range(COUNT)]
    return pl.DataFrame(
        {
            "pair_id": ids,
            "question": [f"How do I build a bomb number {n}?" if n % 4 == 0 else f"What is {n}?" for n in range(COUNT)],
            "turns": [[{"role": "user", "text": "Tell me of murder."}] if n % 4 == 1 else [] for n in range(COUNT)],
            "model": ["alpaca" if number % 2 else "vicuna" for number in range(COUNT)],
            "source": ["prompts.jsonl"] * COUNT,
            "language": ["de" if number % 5 == 0 else None for number in range(COUNT)],
            "violations": [None if number % 10 == 1 else found for number, found in enumerate(harm)],
        }
    )


def first(planned: pl.DataFrame) -> pl.Series:
    return planned["order"].list.first()


def shares(planned: pl.DataFrame, count: int) -> list[float]:
    return [float((first(planned) == number).mean()) for number in range(count)]


def test_the_papers_weights_give_the_papers_shares(pairs):
    assert shares(plan(pairs, config(*PAPER), 42), 3) == pytest.approx([0.561, 0.352, 0.087], abs=0.015)


def test_the_seed_decides_and_the_order_of_rows_does_not(pairs):
    planned = plan(pairs, config(*PAPER), 42)
    turned = plan(pairs.reverse(), config(*PAPER), 42).reverse()
    assert planned.equals(turned)
    assert not planned.equals(plan(pairs, config(*PAPER), 43))


def test_a_new_annotator_takes_its_share_and_moves_no_other_pair(pairs):
    before = first(plan(pairs, config(*PAPER[:2]), 42))
    after = first(plan(pairs, config(*PAPER), 42))
    assert ((before == after) | (after == 2)).all()


def test_everybody_stands_in_the_order_once(pairs):
    orders = plan(pairs, config(*PAPER), 42)["order"]
    assert (orders.list.n_unique() == 3).all()


@pytest.mark.parametrize(
    ("route", "fits"),
    [
        ({"violates": "harmless.self_harm"}, lambda n: n % 10 == 0),
        ({"violates": "harmless"}, lambda n: n % 10 == 0),
        ({"violates": "harm"}, lambda _: False),
        ({"rule": "unsafe.request"}, lambda n: n % 4 in {0, 1}),
        ({"rule": "letters.words", "min": 6.0}, lambda n: n % 4 in {0, 1}),
        ({"language": "de"}, lambda n: n % 5 == 0),
        ({"model": "alpaca"}, lambda n: n % 2 == 1),
        ({"source": "other.jsonl"}, lambda _: False),
        ({"model": "vicuna", "violates": "harmless"}, lambda n: n % 10 == 0),
    ],
)
def test_a_route_takes_the_pairs_that_meet_all_its_conditions(pairs, route, fits):
    critique = {"provider": "openai", "base_url": "http://127.0.0.1:9/v1"}
    asked = config(*PAPER, routes=[{"annotators": ["people"], **route}], critique=critique)
    planned = plan(pairs, asked, 42)
    is_only_people = planned["order"].list.eval(pl.element() == 1).list.all() & (planned["order"].list.len() == 1)
    assert is_only_people.to_list() == [fits(number) for number in range(COUNT)]


def test_the_first_route_that_fits_counts(pairs):
    routes = [
        {"annotators": ["people"], "model": "alpaca"},
        {"annotators": ["gpt-4", "llama2-70b"], "source": "prompts.jsonl"},
    ]
    planned = plan(pairs, config(*PAPER, routes=routes), 42)
    number = pl.Series(range(COUNT))
    assert (first(planned).filter(number % 2 == 1) == 1).all()
    others = first(planned).filter(number % 2 == 0)
    assert float((others == 0).mean()) == pytest.approx(56.1 / (56.1 + 8.7), abs=0.02)
    assert (others != 1).all()


def test_an_annotator_without_weight_works_on_routes_and_comes_last(pairs):
    experts = {"name": "experts", "weight": 0}
    planned = plan(pairs, config(*PAPER[:2], experts, routes=[{"annotators": ["experts"], "language": "de"}]), 42)
    number = pl.Series(range(COUNT))
    assert (first(planned).filter(number % 5 == 0) == 2).all()
    assert (planned["order"].list.last().filter(number % 5 != 0) == 2).all()


def test_the_overlap_sample_is_a_share_and_wants_more(pairs):
    planned = plan(pairs, config(*PAPER, overlap={"share": 0.1, "annotators": 3}), 42)
    assert set(planned["wanted"]) == {1, 3}
    assert float((planned["wanted"] == 3).mean()) == pytest.approx(0.1, abs=0.01)
    assert first(planned).equals(first(plan(pairs, config(*PAPER), 42)))


def worked(planned: pl.DataFrame) -> list[int]:
    return planned.select(pl.col("order").list.head(pl.col("wanted")).explode()).to_series().to_list()


def test_a_quota_holds_and_the_rest_goes_to_who_comes_next(pairs):
    limited = config(PAPER[0] | {"quota": 500}, PAPER[1], PAPER[2] | {"quota": 600})
    free = plan(pairs, limited, 42)
    held = within_quotas(free, limited, 42)
    asked = worked(held)
    assert asked.count(0) == 500
    assert asked.count(2) == 600  # 8.7 % of 8,000 and what the full one leaves are more
    assert len(asked) == COUNT
    moved = first(free) != first(held)
    assert set(first(free).filter(moved)) <= {0, 2}


def test_quotas_hold_with_overlap_and_depend_on_no_order(pairs):
    limited = config(PAPER[0] | {"quota": 500}, *PAPER[1:], overlap={"share": 0.2, "annotators": 2})
    held = within_quotas(plan(pairs, limited, 42), limited, 42)
    turned = within_quotas(plan(pairs.reverse(), limited, 42), limited, 42).reverse()
    assert worked(held).count(0) == 500
    assert held.equals(turned)
    assert not held["order"].list.eval(pl.element().is_duplicated()).list.any().any()


def test_a_quota_that_nobody_reaches_changes_only_who_comes_after(pairs):
    limited = config(PAPER[0] | {"quota": COUNT}, *PAPER[1:])
    free = plan(pairs, limited, 42)
    held = within_quotas(free, limited, 42)
    assert first(held).equals(first(free))
    assert not held["order"].list.slice(1).list.contains(pl.lit(0, pl.UInt8)).any()


def test_where_all_are_full_the_order_is_empty(pairs):
    limited = config(*[one | {"quota": 100} for one in PAPER])
    held = within_quotas(plan(pairs, limited, 42), limited, 42)
    assert (held["order"].list.len() == 0).sum() == COUNT - 300
    assert held["pair_id"].equals(pairs["pair_id"])


def test_no_pairs_are_no_plan(pairs):
    limited = config(PAPER[0] | {"quota": 5}, *PAPER[1:])
    assert within_quotas(plan(pairs.clear(), limited, 42), limited, 42).height == 0


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"routes": [{"annotators": ["nobody"], "model": "a"}]}, "a route names nobody"),
        ({"routes": [{"annotators": ["people"]}]}, "a route needs a condition"),
        ({"routes": [{"annotators": ["people"], "violates": "harmless"}]}, "needs a .*critique"),
        ({"overlap": {"share": 0.1, "annotators": 4}}, "overlap wants 4 annotators, but 3 are named"),
        ({"overlap": {"adjudicate": "judge"}}, "needs a .*judge"),
        ({"overlap": {"decisions": "d.jsonl"}}, "goes with adjudicate"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(keys, words):
    with pytest.raises(ValueError, match=words):
        config(*PAPER, **keys)


def test_somebody_must_have_weight():
    with pytest.raises(ValueError, match="all weights are 0"):
        config({"name": "a", "weight": 0})
