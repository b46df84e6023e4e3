"""Who is asked what: several answers, several samples, models that step in, and what changes when something is added."""

import random
import shutil
import threading
import time
from collections import Counter
from itertools import count

import pytest

from curate.assignment import assign
from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from curate.store.run import RunStore
from tests.curate.stages.conftest import model, written
from tests.llm_server import llm_server

NAMES = ["o", "a", "c"]


def generate(pipeline, *, again=False):
    run_stage(pipeline, "generate", lambda _: None, again=again)
    return RunStore(pipeline.workdir)


def orders(store, names, seed=42):
    """Prompt text to its id and the names of all models in the order in which they are asked."""
    prompts = store.table("filter", "prompts").collect()
    numbers = assign(prompts["prompt_id"], names, [1.0] * len(names), len(names), seed)
    rows = zip(prompts["text"], prompts["prompt_id"], numbers, strict=True)
    return {text: (prompt_id, [names[number] for number in order]) for text, prompt_id, order in rows}


def answers(name, prompt):
    """Whether a model has an answer to a prompt: the same whenever it is asked."""
    return random.Random(f"{name} {prompt}").random() < 0.5


@pytest.fixture
def falling_back(asking, server, second, third):
    """80 prompts, two answers wanted of three models that have one to every other prompt."""
    for name, one in zip(NAMES, (server, second, third), strict=True):
        one.answer = lambda prompt, name=name: f"{name} says: {prompt}" if answers(name, prompt) else ""
    models = [model("o", server), model("a", second, "anthropic"), model("c", third)]
    return asking(*models, prompts=80, generate={"answers_per_prompt": 2, "fallback": True})


def test_where_a_model_has_no_answer_the_next_of_the_prompts_order_is_asked(falling_back, server, second, third):
    store = generate(falling_back)
    expected, failed, asked = set(), set(), Counter()
    for prompt, (prompt_id, names) in orders(store, NAMES).items():
        wanted, left = 2, list(names)
        while wanted and left:
            name = left.pop(0)
            asked[name, prompt] += 1
            if answers(name, prompt):
                expected.add((prompt_id, name))
                wanted -= 1
            else:
                failed.add(f"{prompt_id}:{name}")
    got = store.table("generate", "answers").collect()
    assert set(got.select("prompt_id", "model").iter_rows()) == expected
    failures = store.table("generate", "failures").collect()
    assert set(failures["row_id"]) == failed
    assert set(failures["kind"]) == {"empty"}
    servers = zip(NAMES, (server, second, third), strict=True)
    assert asked == Counter({(name, prompt): n for name, one in servers for prompt, n in one.asked.items()})


def test_a_second_run_of_models_that_step_in_asks_nothing(falling_back, server, second, third):
    first = generate(falling_back).table("generate", "answers").collect()
    asked = [one.asked.total() for one in (server, second, third)]
    assert generate(falling_back, again=True).table("generate", "answers").collect().equals(first)
    assert [one.asked.total() for one in (server, second, third)] == asked


def test_a_refused_request_goes_to_the_next_model(asking, server, second):
    server.faults = [(400, {}, b'{"error": {"message": "no"}}')] * 30
    models = [model("o", server), model("a", second, "anthropic")]
    store = generate(asking(*models, prompts=80, generate={"fallback": True}))
    assert store.table("generate", "answers").collect()["prompt_id"].n_unique() == 80
    assert store.published("generate").failed_by == {"refused_request": 30}


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_equal_samples_of_one_prompt_are_rows_of_their_own(asking, server, provider):
    server.answer = lambda prompt: "always the same"
    store = generate(asking(model("m", server, provider), prompts=20, generate={"samples_per_model": 3}))
    table = store.table("generate", "answers").collect()
    assert table["answer_id"].n_unique() == table["request_id"].n_unique() == table.height == 60
    samples = Counter(table.select("prompt_id", "sample_index").iter_rows())
    assert samples == Counter({(prompt, index): 1 for prompt in table["prompt_id"] for index in (0, 1, 2)})
    assert set(server.asked.values()) == {3}


def test_samples_are_asked_with_following_seeds(asking, server):
    generate(asking(model("m", server, sampling={"seed": 7}), prompts=20, generate={"samples_per_model": 3}))
    seeds = Counter((body["messages"][-1]["content"], body["seed"]) for body in server.bodies)
    assert seeds == Counter({(prompt, seed): 1 for prompt in server.asked for seed in (7, 8, 9)})


def test_samples_whose_texts_differ_keep_them(asking, server):
    numbers = count()
    server.answer = lambda prompt: f"{next(numbers)}: {prompt}"
    store = generate(asking(model("m", server), prompts=20, generate={"samples_per_model": 3}))
    assert store.table("generate", "answers").collect()["text"].n_unique() == 60


def test_each_model_has_its_system_prompt_in_both_protocols(asking, server, second, third):
    models = [
        model("o", server, system="You are brief."),
        model("a", second, "anthropic", system="You are long."),
        model("c", third),
    ]
    generate(asking(*models, prompts=10, generate={"answers_per_prompt": 3}))
    assert all(body["messages"][0] == {"role": "system", "content": "You are brief."} for body in server.bodies)
    assert all(body["system"] == "You are long." and len(body["messages"]) == 1 for body in second.bodies)
    assert all([turn["role"] for turn in body["messages"]] == ["user"] for body in third.bodies)


def test_more_fields_and_another_name_of_max_tokens_are_sent(asking, server, second):
    more = {"extra_body": {"stop": ["###"], "min_p": 0.1}, "sampling": {"max_tokens": 9}}
    models = [
        model("o", server, max_tokens_name="max_completion_tokens", **more),
        model("a", second, "anthropic", **more),
    ]
    generate(asking(*models, prompts=3, generate={"answers_per_prompt": 2}))
    body = server.bodies[0]
    assert (body["stop"], body["min_p"], body["max_completion_tokens"]) == (["###"], 0.1, 9)
    assert "max_tokens" not in body
    assert (second.bodies[0]["stop"], second.bodies[0]["max_tokens"]) == (["###"], 9)


def test_a_base_model_gets_plain_text(asking, server):
    template = "### Instruction:\n{prompt}\n\n### Response:\n"
    store = generate(
        asking(model("base", server, protocol="completions", prompt_template=template, system="Be good."), prompts=5)
    )
    wanted = {template.replace("{prompt}", f"Be good.\n\nWhat is {n} plus {n}, please?") for n in range(5)}
    assert {body["prompt"] for body in server.bodies} == wanted
    assert set(store.table("generate", "answers").collect()["text"]) == {f"Answer to: {prompt}" for prompt in wanted}


@pytest.mark.parametrize("most", [{"a": 3, "b": 8}, {"a": 8, "b": 3}])
def test_models_of_one_limit_group_are_never_more_in_flight_than_the_tightest_says(asking, server, most):
    lock, now, seen = threading.Lock(), Counter(), []

    def measure():
        with lock:
            now["in flight"] += 1
            seen.append(now["in flight"])
        time.sleep(0.005)
        with lock:
            now["in flight"] -= 1

    server.before_answer = measure
    models = [model(name, server, limit_group="gpu", max_in_flight=width) for name, width in most.items()]
    generate(asking(*models, prompts=60, generate={"answers_per_prompt": 2}))
    assert (len(seen), max(seen)) == (120, 3)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A finished run of 3,000 prompts with two answers by three models: its folder, its models and their server."""
    with llm_server() as one:
        folder = tmp_path_factory.mktemp("big")
        models = [model(name, one, max_in_flight=64) for name in NAMES]
        generate(written(folder, *models, prompts=3000, generate={"answers_per_prompt": 2}))
        assert one.asked.total() == 6000
        yield folder, models, one


@pytest.fixture
def changed(big, tmp_path):
    """Asks with other models or prompts on a copy; what the server was asked for it, and the store."""
    folder, models, one = big

    def change(prompts=3000, models=models):
        shutil.copytree(folder, tmp_path / "copy")
        before = one.asked.total()
        pipeline = written(tmp_path / "copy", *models, prompts=prompts, generate={"answers_per_prompt": 2})
        store = generate(pipeline)
        accounting = store.published("generate").accounting
        assert (accounting.kept, accounting.failed) == (2 * prompts, 0)
        return one.asked.total() - before, store

    return change


def test_one_more_prompt_of_3000_sends_its_two_requests(changed):
    assert changed(prompts=3001)[0] == 2


def test_a_server_at_another_port_is_sent_nothing(big, tmp_path):
    folder, models, _ = big
    shutil.copytree(folder, tmp_path / "copy")
    with llm_server() as moved:
        models = [model(one["name"], moved, max_in_flight=64) for one in models]
        written(tmp_path / "copy", *models, prompts=3000, generate={"answers_per_prompt": 2})
        store = generate(read_pipeline(tmp_path / "copy" / "pipelines.toml"), again=True)
        assert not moved.asked
    assert store.published("generate").accounting.kept == 6000


def test_a_fourth_model_is_asked_its_share_and_the_others_nothing(big, changed):
    sent, store = changed(models=[*big[1], big[1][0] | {"name": "d"}])
    share = sum("d" in names[:2] for _, names in orders(store, [*NAMES, "d"]).values())
    assert sent == share
    assert 1300 < share < 1700


def test_a_second_run_with_fallback_ends_and_asks_nobody(asking, server, second):
    server.answer = lambda _: ""
    pipeline = asking(model("a", server), model("b", second), prompts=8, generate={"fallback": True})
    generate(pipeline)
    asked = server.asked.total() + second.asked.total()
    run_stage(pipeline, "generate", lambda _: None, again=True)
    assert server.asked.total() + second.asked.total() == asked
