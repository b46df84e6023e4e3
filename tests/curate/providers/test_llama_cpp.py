"""Both protocols against llama.cpp, a server that others wrote, and beside both SDKs: replies, counts, refusals, end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from curate.ledger.accounts import calls_by_model, sent_by_model
from curate.pipeline import run_stage
from curate.store.run import RunStore
from schemas.errors import StageError
from tests.conftest import lines
from tests.llama_cpp import KEY, MODEL, llama_cpp

QUESTIONS = [f"What is {n} plus {n}, please?" for n in range(8)]
LONG = (
    "The lighthouse was built when ships still carried grain along this coast. Its keeper lit forty lamps each evening, "
    "wrote the weather into a book and slept beside the stove. After a storm took the old pier, the council asked an "
    "engineer from the city for a stronger one; she measured the currents for two years before she drew a single line. "
    "Children learned to read from her letters, which hang in the school today. Nobody knows why she left in autumn, "
    "but the pier stands, and fishermen touch its first stone for luck before every journey to the northern banks."
)
GREEDY = "{ temperature = 0, seed = 1, max_tokens = 32 }"

both = pytest.mark.parametrize("provider", ["openai", "anthropic"])
Configured = Callable[..., Pipeline]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_cpp(tmp_path_factory.mktemp("llama_cpp")) as running:
        yield running


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    """Makes a pipeline of its own in the folder `name`, whose one model is the server at `url`."""
    monkeypatch.setenv("LLAMA_CPP_KEY", KEY)

    def make(
        url: str, provider: str, name: str = "p", sampling: str = GREEDY, prompts: list[str] = QUESTIONS
    ) -> Pipeline:
        folder = tmp_path / name
        folder.mkdir()
        lines(folder / "prompts.jsonl", [{"text": prompt} for prompt in prompts])
        (folder / "pipelines.toml").write_text(
            f"""
            [[pipelines.p.sources]]
            path = "prompts.jsonl"
            field = "text"
            license = "MIT"
            [[pipelines.p.generate.models]]
            name = "tiny"
            reported_as = "{MODEL}"
            provider = "{provider}"
            base_url = "{url}{"/v1" if provider == "openai" else ""}"
            api_key_env = "LLAMA_CPP_KEY"
            sampling = {sampling}
            """
        )
        return read_pipeline(folder / "pipelines.toml")

    return make


def generate(pipeline: Pipeline) -> RunStore:
    run_stage(pipeline, "filter", lambda _: None, again=False)
    run_stage(pipeline, "generate", lambda _: None, again=False)
    return RunStore(pipeline.workdir)


def texts(store: RunStore) -> dict[str, str]:
    answers = store.table("generate", "answers").collect()
    return dict(zip(answers["prompt_id"], answers["text"], strict=True))


@both
def test_every_prompt_ends_as_a_whole_answer_or_as_a_failure_with_its_kind(asking, url, provider):
    pipeline = asking(url, provider)
    store = generate(pipeline)
    manifest = store.published("generate")
    assert manifest.accounting.kept + manifest.accounting.failed == len(QUESTIONS)
    assert set(manifest.failed_by) == {"truncated"}
    assert store.table("generate", "answers").collect()["finish_reason"].unique().to_list() == ["stop"]
    assert all(text.strip() for text in texts(store).values())
    failures = store.table("generate", "failures").collect()
    assert failures["detail"].unique().to_list() == ["cut off after 32 tokens: raise max_tokens"]
    (calls,) = calls_by_model(pipeline.workdir / "ledger.sqlite")
    assert calls["calls"] == len(QUESTIONS)
    assert calls["input_tokens"] > sum(map(len, QUESTIONS))
    assert 32 * manifest.accounting.failed < calls["output_tokens"] < 32 * len(QUESTIONS)


def test_both_protocols_bring_the_same_answers_and_count_the_same_tokens(asking, url):
    one, other = asking(url, "openai", "one"), asking(url, "anthropic", "other")
    assert texts(generate(one)) == texts(generate(other)) != {}
    assert calls_by_model(one.workdir / "ledger.sqlite") == calls_by_model(other.workdir / "ledger.sqlite")


@both
def test_two_fresh_runs_give_the_same_answers(asking, url, provider):
    first, second = (texts(generate(asking(url, provider, name))) for name in ("first", "second"))
    assert first == second != {}


def test_the_seed_decides_what_is_sampled(asking, url):
    def sampled(name: str, seed: int) -> dict[str, str]:
        return texts(generate(asking(url, "openai", name, f"{{ temperature = 1.5, seed = {seed}, max_tokens = 64 }}")))

    first = sampled("first", 1)
    assert first == sampled("again", 1) != {}
    assert first != sampled("other", 2)


@both
def test_a_second_run_needs_no_server(asking, tmp_path, provider):
    with llama_cpp(tmp_path) as url:
        pipeline = asking(url, provider)
        before = texts(generate(pipeline))
    run_stage(pipeline, "generate", lambda _: None, again=True)
    assert texts(RunStore(pipeline.workdir)) == before != {}
    (sent,) = sent_by_model(pipeline.workdir / "ledger.sqlite")
    assert (sent["sent"], sent["replies"]) == (len(QUESTIONS), len(QUESTIONS))


@both
def test_a_prompt_longer_than_the_context_is_refused_in_the_servers_words(asking, url, provider):
    store = generate(asking(url, provider, prompts=[QUESTIONS[1], f"Sum this up, please: {LONG}"]))
    assert store.published("generate").failed_by == {"refused_request": 1}
    assert "exceeds the available context size" in store.table("generate", "failures").collect()["detail"][0]


@both
def test_a_wrong_key_is_refused(asking, url, provider, monkeypatch):
    pipeline = asking(url, provider)
    monkeypatch.setenv("LLAMA_CPP_KEY", "sk-another")
    with pytest.raises(StageError, match="tiny: unauthorized: 401: .*Invalid API Key"):
        generate(pipeline)


def test_both_sdks_bring_the_answers_that_we_bring(asking, url):
    import anthropic
    import openai

    ours = texts(generate(asking(url, "openai", prompts=QUESTIONS[1:2])))
    said = {"model": "tiny", "messages": [{"role": "user", "content": QUESTIONS[1]}], "max_tokens": 32}
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
        by_openai = client.chat.completions.create(**said, temperature=0, seed=1).choices[0].message.content
    with anthropic.Anthropic(base_url=url, api_key=KEY) as client:
        by_anthropic = client.messages.create(**said, extra_body={"temperature": 0}).content[0].text
    assert list(ours.values()) == [by_openai] == [by_anthropic]
