from pathlib import Path

import pytest

from curate.config.reading import key_lines, read_pipeline
from schemas.errors import ConfigError

GOOD = """
[pipelines.demo]
seed = 7

[[pipelines.demo.sources]]
path = "prompts.jsonl"
field = "instruction"
license = "MIT"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "pipelines.toml"
    path.write_text(text, encoding="utf-8")
    return path


def fault(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_pipeline(written(folder, text))
    return str(caught.value)


def test_paths_start_at_the_file_and_the_workdir_has_a_default(tmp_path):
    pipeline = read_pipeline(written(tmp_path, GOOD))
    assert pipeline.path("prompts.jsonl") == tmp_path / "prompts.jsonl"
    assert pipeline.workdir == tmp_path / "runs" / "demo"
    assert pipeline.config.seed == 7


@pytest.mark.parametrize(
    ("line", "place", "near"),
    [
        ("[pipelines.demo]\nsede = 3", ":2: [pipelines.demo]", '"seed"'),
        (
            '[[pipelines.demo.sources]]\npath = "a.jsonl"\nfield = "x"\nlisence = "MIT"',
            ":4: [pipelines.demo.sources[1]]",
            '"license"',
        ),
        (
            '[pipelines.demo.filter.thresholds]\n"length.characters" = { mni = 3 }',
            ":2: [pipelines.demo.filter",
            '"min"',
        ),
        (
            '[[pipelines.demo.generate.models]]\nname = "a"\nprovider = "openai"\n\nsampling = { temprature = 1 }',
            ":5: [pipelines.demo.generate.models[1].sampling]",
            '"temperature"',
        ),
        ("[pipelines.demo.annotate.label_studio]\nurk = 1", ":2: [pipelines.demo.annotate.label_studio]", '"url"'),
    ],
)
def test_an_unknown_key_is_named_with_line_table_and_nearest_known_key(tmp_path, line, place, near):
    text = fault(tmp_path, line)
    assert place in text
    assert f"did you mean {near}?" in text


def test_all_faults_are_told_at_once(tmp_path):
    text = fault(tmp_path, '[pipelines.demo]\nsede = 3\nseed = "x"\n')
    assert ":2:" in text
    assert ":3:" in text


def test_a_file_that_is_no_toml_is_named_with_its_line(tmp_path):
    assert "line 2" in fault(tmp_path, "[pipelines.demo]\nseed = = 3\n")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        read_pipeline(tmp_path / "nothing.toml")


def test_an_unknown_pipeline_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match='did you mean "demo"'):
        read_pipeline(written(tmp_path, GOOD), "demmo")


def test_two_pipelines_ask_for_a_choice(tmp_path):
    path = written(tmp_path, GOOD + "[pipelines.other]\n")
    with pytest.raises(ConfigError, match="demo, other"):
        read_pipeline(path)
    assert read_pipeline(path, "other").name == "other"


def test_the_same_source_path_twice_is_refused(tmp_path):
    source = '[[pipelines.demo.sources]]\npath = "a.jsonl"\nfield = "x"\n'
    assert "duplicate source path: a.jsonl" in fault(tmp_path, source * 2)


def test_a_budget_needs_prices(tmp_path):
    model = '[[pipelines.demo.generate.models]]\nname = "m"\nprovider = "openai"\n'
    text = f"[pipelines.demo.generate]\nbudget_usd = 5\n{model}"
    assert "budget_usd needs a price for each model; none for: m" in fault(tmp_path, text)


def test_a_field_belongs_to_the_shape_field_alone(tmp_path):
    assert 'shape = "field"' in fault(tmp_path, '[[pipelines.demo.sources]]\npath = "a.jsonl"\n')


def test_a_table_without_a_header_stands_where_its_first_part_does():
    lines = key_lines("[[a.b.c]]\nx = 1\n[a.d]\n[a]\n")
    assert (lines["a", "b"], lines["a", "d"], lines["a",]) == (1, 3, 4)


def test_lines_are_found_in_tables_of_tables():
    lines = key_lines('[a]\nx = 1\n\n[[a.b]]\ny = 2\n[[a.b]]\n"z.w" = 3\n[a.b.c]\nq = 1\n')
    assert lines["a", "x"] == 2
    assert lines["a", "b", 0, "y"] == 5
    assert lines["a", "b", 1, "z.w"] == 7
    assert lines["a", "b", 1, "c", "q"] == 9


MODEL = '[[pipelines.demo.generate.models]]\nname = "m"\nprovider = "openai"\n'
RECORDED = '[[pipelines.demo.generate.models]]\nname = "m"\nprovider = "recorded"\npath = "a.jsonl"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[pipelines.demo.filter.thresholds]\n"letters.share" = { min = 0.9, max = 0.1 }', "nothing would pass"),
        ('[pipelines.demo.filter.thresholds]\n"letters.share" = { min = nan }', "finite number"),
        (MODEL + "weight = inf", "finite number"),
        (MODEL + 'base_url = "localhost:9"', "should match pattern"),
        (RECORDED + 'columns = { anwser = "answer" }', "'answer'"),
        ('[pipelines.demo.generate]\nbudget_usd = "a lot"', "valid decimal"),
        (
            MODEL
            + 'model = "x"\nbase_url = "http://a/v1"\n'
            + MODEL.replace('"m"', '"n"')
            + 'model = "x"\nbase_url = "http://b/v1"',
            'two servers call their model "x"',
        ),
        ("[pipelines.demo.release]\nvalidation_share = 0.9\ntest_share = 0.1", "leave no rows to train on"),
    ],
)
def test_what_could_not_work_is_refused_when_the_file_is_read(tmp_path, text, words):
    told = fault(tmp_path, text)
    assert words in told
    assert "pipelines.toml:" in told


def test_a_byte_order_mark_is_no_fault(tmp_path):
    assert read_pipeline(written(tmp_path, "\ufeff" + GOOD)).name == "demo"


ANTHROPIC = MODEL.replace("openai", "anthropic")
PRICED = MODEL + "price = { input = 2, output = 4 }\n"


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        (MODEL + "extra_body = { seed = 3 }", 1, "extra_body", "extra_body may not hold seed"),
        (MODEL + "extra_body = { n = 2, messages = [], min_p = 0.1 }", 1, "extra_body", "may not hold messages, n:"),
        (ANTHROPIC + 'protocol = "completions"', 1, "protocol", 'goes with provider = "openai"'),
        (RECORDED + 'protocol = "completions"', 1, "protocol", 'goes with provider = "openai"'),
        (
            MODEL + 'protocol = "completions"\nprompt_template = "Answer:"',
            1,
            "prompt_template",
            "no place for {prompt}",
        ),
        (RECORDED + 'mode = "batch"', 1, "mode", "needs a server"),
        (MODEL + 'mode = "bulk"', 4, "mode", "'online' or 'batch'"),
        (MODEL + "budget_usd = 5", 1, "budget_usd", "needs a price for each model; none for: m"),
        (f"[pipelines.demo]\nbudget_usd = 5\n{MODEL}", 1, "budget_usd", "needs a price for each model; none for: m"),
        (MODEL + "price = { input = 2, output = 4, cached = 3 }", 4, "price", "cached tokens (3) cannot cost more"),
        (MODEL + 'price = { input = 2, output = 4, as_of = "last week" }', 4, "as_of", "should match pattern"),
        (MODEL + "price = { input = -2, output = 4 }", 4, "input", "greater than or equal to 0"),
        (MODEL + "price = { input = 2 }", 4, "output", "is missing"),
        (MODEL + "price = { input = 2, output = 4, batch_factor = 1.5 }", 4, "batch_factor", "less than or equal to 1"),
        (MODEL + "max_in_flight = 0", 4, "max_in_flight", "greater than or equal to 1"),
        (MODEL + "requests_per_minute = 0", 4, "requests_per_minute", "greater than 0"),
        (MODEL + "batch_requests = 60000", 4, "batch_requests", "less than or equal to 50000"),
        (MODEL + "sampling = { max_tokens = 0 }", 4, "max_tokens", "greater than or equal to 1"),
    ],
)
def test_a_model_that_could_not_be_called_is_refused_with_file_line_and_key(tmp_path, text, line, key, words):
    told = fault(tmp_path, text)
    assert f"{tmp_path / 'pipelines.toml'}:{line}:" in told
    assert key in told
    assert words in told


@pytest.mark.parametrize("day", ["2026-11-01", "2024-02-29"])
def test_the_day_of_a_price_is_kept(tmp_path, day):
    text = MODEL + f'price = {{ input = 2, output = 4, as_of = "{day}" }}'
    (model,) = read_pipeline(written(tmp_path, text)).config.generate.models
    assert model.price.as_of == day


@pytest.mark.parametrize("day", ["2026-13-01", "2026-02-30", "2026-00-00", "26-01-01", "2026-11-01T00:00"])
def test_a_day_that_is_none_is_refused(tmp_path, day):
    assert "as_of" in fault(tmp_path, MODEL + f'price = {{ input = 2, output = 4, as_of = "{day}" }}')


SOURCE = '[[pipelines.demo.sources]]\npath = "a.jsonl"\n'


@pytest.mark.parametrize("shape", ["field", "texts", "alpaca", "sharegpt", "messages"])
def test_preferences_with_another_shape_name_the_shapes_that_hold_them(tmp_path, shape):
    field = 'field = "x"\n' if shape == "field" else ""
    told = fault(tmp_path, f'{SOURCE}shape = "{shape}"\n{field}preferences = true\n')
    assert f"{tmp_path / 'pipelines.toml'}:1:" in told
    assert f'shape = "{shape}" holds no preferences' in told
    assert "hh-rlhf, pku-saferlhf, ultrafeedback, preference" in told


@pytest.mark.parametrize("shape", ["hh-rlhf", "pku-saferlhf", "ultrafeedback", "preference"])
def test_shapes_that_hold_preferences_give_them_only_when_asked(tmp_path, shape):
    (plain,) = read_pipeline(written(tmp_path, f'{SOURCE}shape = "{shape}"\n')).config.sources
    text = f'{SOURCE}shape = "{shape}"\npreferences = true\nupstream_model = "alpaca-7b"\n'
    (asked,) = read_pipeline(written(tmp_path, text)).config.sources
    assert (plain.preferences, plain.upstream_model) == (False, "unknown")
    assert (asked.preferences, asked.upstream_model) == (True, "alpaca-7b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SOURCE + 'shape = "hh-rlhf"\nupstream_model = "m"', "give it with preferences = true"),
        (SOURCE + 'shape = "hh-rlhf"\npreferences = true\nupstream_model = ""', "at least 1 character"),
        (SOURCE + 'shape = "hh-rlhf"\npreferences = "yes please"', "valid boolean"),
        (SOURCE + 'shape = "hh-rlhf"\npreference = true', 'did you mean "preferences"?'),
        (
            '[[pipelines.demo.dedup.evaluation]]\npath = "a.jsonl"\nshape = "hh-rlhf"\npreferences = true',
            "an evaluation set gives questions only",
        ),
    ],
)
def test_what_makes_no_sense_of_preferences_is_refused(tmp_path, text, words):
    assert words in fault(tmp_path, text)
