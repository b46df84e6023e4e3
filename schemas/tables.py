"""The tables that stages exchange, one dataframely schema each; rows carry content ids and their parents' ids."""

import dataframely as dy

ROW_ID = r"^[0-9a-f]{32}$"
KIND = r"^(model|person|preference)$"


def _id(*, primary_key: bool = False, nullable: bool = False) -> dy.String:
    return dy.String(primary_key=primary_key, nullable=nullable, regex=ROW_ID)


class Prompts(dy.Schema):
    """Texts that are to be answered. `turns` are the earlier turns of the same dialogue, oldest first."""

    prompt_id = _id(primary_key=True)
    text = dy.String(min_length=1)
    turns = dy.List(dy.Struct({"role": dy.String(), "text": dy.String()}))
    source = dy.String(min_length=1)
    source_row = dy.Int64(min=0)
    license = dy.String(nullable=True)
    language = dy.String(nullable=True)


class Preferences(dy.Schema):
    """Rejected answers and the chosen ones that correct them, as published data sets of preferences hold them.

    The prompt stands in `prompts` under its id, with the source that held it first. upstream_model wrote the answer.
    """

    preference_id = _id(primary_key=True)
    prompt_id = _id()
    answer = dy.String(min_length=1)
    correction = dy.String(min_length=1)
    upstream_model = dy.String(min_length=1)
    source = dy.String(min_length=1)
    source_row = dy.Int64(min=0)
    license = dy.String(nullable=True)


class Answers(dy.Schema):
    """What upstream models said to prompts; `request_id` is the key of the call in the ledger, null without a call.

    sample_index counts a model's answers to one prompt from 0. is_refusal: the model declined; such answers are kept.
    """

    answer_id = _id(primary_key=True)
    prompt_id = _id()
    model = dy.String(min_length=1)
    sample_index = dy.Int64(min=0)
    text = dy.String()
    is_refusal = dy.Bool()
    finish_reason = dy.String(regex=r"^(stop|length|content_filter|refusal|other)$")
    settings_id = _id()
    request_id = dy.String(nullable=True, regex=r"^[0-9a-f]{64}$")


class Pairs(dy.Schema):
    """Question-answer pairs that survived the pair filter and dedup; `pair_id` equals the answer's id."""

    pair_id = _id(primary_key=True)
    prompt_id = _id()
    cluster_id = _id()
    question = dy.String(min_length=1)
    turns = dy.List(dy.Struct({"role": dy.String(), "text": dy.String()}))
    answer = dy.String(min_length=1)
    model = dy.String(min_length=1)
    source = dy.String(min_length=1)
    source_row = dy.Int64(min=0)
    license = dy.String(nullable=True)
    language = dy.String(nullable=True)


class Corrections(dy.Schema):
    """The better answers, each written by one annotator from one pair; it may equal the answer.

    template_id, principles_id: content ids of what a model was told; the table `recipes` holds their words. Kind
    preference: the chosen answer of preference data, whose file and row is the `task_id`.
    """

    correction_id = _id(primary_key=True)
    pair_id = _id()
    annotator = dy.String(min_length=1)
    annotator_kind = dy.String(regex=KIND)
    text = dy.String()
    template_id = _id(nullable=True)
    principles_id = _id(nullable=True)
    request_id = dy.String(nullable=True)
    task_id = dy.String(nullable=True)
    seconds_spent = dy.Float64(nullable=True, min=0.0)


class Triples(dy.Schema):
    """The released rows: question, answer, correction, and who made them from what."""

    triple_id = _id(primary_key=True)
    split = dy.String(regex=r"^(train|validation|test)$")
    question = dy.String(min_length=1)
    answer = dy.String(min_length=1)
    correction = dy.String(min_length=1)
    is_identity = dy.Bool()
    turns = dy.List(dy.Struct({"role": dy.String(), "text": dy.String()}))
    upstream_model = dy.String(min_length=1)
    annotator = dy.String(min_length=1)
    annotator_kind = dy.String(regex=KIND)
    template_id = _id(nullable=True)
    principles_id = _id(nullable=True)
    source = dy.String(min_length=1)
    source_row = dy.Int64(min=0)
    license = dy.String(nullable=True)
    language = dy.String(nullable=True)
    prompt_id = _id()
    pair_id = _id()
    correction_id = _id()
    cluster_id = _id()


class Verdicts(dy.Schema):
    """One rule's ruling on one row. `kept` is false where the rule dropped the row; tags keep theirs."""

    row_id = dy.String(min_length=1)
    stage = dy.String(min_length=1)
    rule = dy.String(min_length=1)
    score = dy.Float64(nullable=True)
    threshold = dy.Float64(nullable=True)
    kept = dy.Bool()
    twin_id = dy.String(nullable=True)
    note = dy.String(nullable=True)


class Failures(dy.Schema):
    """Rows that failed, each with a kind and the words of the file or server that refused it."""

    row_id = dy.String(min_length=1)
    stage = dy.String(min_length=1)
    kind = dy.String(min_length=1)
    detail = dy.String()
    attempts = dy.Int64(min=0)


TABLES: dict[str, type[dy.Schema]] = {
    "prompts": Prompts,
    "preferences": Preferences,
    "answers": Answers,
    "pairs": Pairs,
    "corrections": Corrections,
    "triples": Triples,
    "verdicts": Verdicts,
    "failures": Failures,
}
