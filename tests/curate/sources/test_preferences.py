"""Rows as the data sets are published: which answer corrects which, and why some rows give their prompt only."""

import copy
import json

import pytest

from curate.sources.dialogues import RawPrompt
from curate.sources.preferences import DISAGREES, TIED, UNCLEAR, UNSAFE, Compared, NoPreference, RawPreference, compared
from curate.sources.readers import Broken
from curate.sources.shapes import shape_of
from schemas.records import Turn

HH = {
    "chosen": "\n\nHuman: Can I eat raw chicken?\n\nAssistant: Do you mean as sashimi?\n\nHuman: Yes.\n\nAssistant: No, cook it.",
    "rejected": "\n\nHuman: Can I eat raw chicken?\n\nAssistant: Do you mean as sashimi?\n\nHuman: Yes.\n\nAssistant: Sure.",
}
HH_PROMPT = RawPrompt("Yes.", (Turn("user", "Can I eat raw chicken?"), Turn("assistant", "Do you mean as sashimi?")))
PKU = {
    "prompt": "Where can I find information on how to build my own explosives?",
    "response_0": "You can find it in professional sources such as books and online manuals.",
    "response_1": "You cannot legally do that without a licence; it is dangerous.",
    "prompt_source": "Alpaca3-70B",
    "response_0_source": "Alpaca-7B",
    "response_1_source": "Alpaca2-7B",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "response_0_severity_level": 1,
    "response_1_severity_level": 0,
    "better_response_id": 1,
    "safer_response_id": 1,
}
RAW = {
    "source": "sharegpt",
    "instruction": "What is there to see in Cairo?",
    "models": ["falcon-40b-instruct", "gpt-4", "starchat"],
    "completions": [
        {"model": "falcon-40b-instruct", "response": "Rafting on the Nile.", "overall_score": 4.0},
        {"model": "gpt-4", "response": "The pyramids, the museum and the bazaar.", "overall_score": 8.5},
        {"model": "starchat", "response": "Here are some things: Giza.", "overall_score": 6},
    ],
}
ASKED = {"role": "user", "content": "Why is the sky blue?"}
GOOD = {"role": "assistant", "content": "Air scatters blue light more."}
BAD = {"role": "assistant", "content": "It mirrors the sea."}
BINARIZED = {
    "prompt": "Why is the sky blue?",
    "prompt_id": "ab12",
    "chosen": [ASKED, GOOD],
    "rejected": [ASKED, BAD],
    "messages": [ASKED, GOOD],
    "score_chosen": 8.0,
    "score_rejected": 3.0,
}
SKY = RawPrompt("Why is the sky blue?")
BLUE = RawPreference("It mirrors the sea.", "Air scatters blue light more.")
ROWS = {"hh-rlhf": HH, "pku-saferlhf": PKU, "ultrafeedback": RAW, "preference": BINARIZED}


def outcome(shape: str, row: object) -> object:
    found = compared(row, shape)
    return found.outcome if isinstance(found, Compared) else found


def changed(row: dict, **columns: object) -> dict:
    return {**copy.deepcopy(row), **columns}


def test_hh_rlhf_dialogues_share_all_but_their_last_answers():
    assert compared(HH, "hh-rlhf") == Compared(HH_PROMPT, RawPreference("Sure.", "No, cook it."))


@pytest.mark.parametrize(
    ("rejected", "says"),
    [
        ("\n\nHuman: Hello?\n\nAssistant: Hi.", "differ in turn 1"),
        (HH["rejected"].replace("sashimi", "soup"), "differ in turn 2"),
        ("\n\nHuman: Can I eat raw chicken?\n\nAssistant: Sure.", "differ in turn 2"),
        ("", "differ in turn 1"),
        (HH["rejected"] + "\n\nHuman: Thanks.\n\nAssistant: Bye.", "3 and 1 turns after the prompt"),
        (HH["rejected"].removesuffix("\n\nAssistant: Sure."), "0 and 1 turns after the prompt"),
        (HH["rejected"].removesuffix(" Sure."), "the rejected answer has no characters"),
    ],
)
def test_hh_rlhf_dialogues_that_do_not_match_give_the_prompt_of_the_chosen_one_and_a_note(rejected, says):
    found = compared(changed(HH, rejected=rejected), "hh-rlhf")
    assert found.prompt == HH_PROMPT
    assert found.outcome.rule == UNCLEAR
    assert says in found.outcome.note


def test_pku_saferlhf_takes_what_both_labels_prefer_and_names_who_wrote_the_other():
    expected = RawPreference(PKU["response_0"], PKU["response_1"], "Alpaca-7B")
    assert compared(PKU, "pku-saferlhf") == Compared(RawPrompt(PKU["prompt"]), expected)
    first = changed(PKU, better_response_id=0, safer_response_id=0, is_response_0_safe=True)
    assert outcome("pku-saferlhf", first) == RawPreference(PKU["response_1"], PKU["response_0"], "Alpaca2-7B")


def test_pku_saferlhf_of_the_first_publication_names_no_model():
    row = {name: value for name, value in PKU.items() if not name.endswith("_source")}
    assert outcome("pku-saferlhf", row).upstream_model is None


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"better_response_id": 0}, DISAGREES),
        ({"safer_response_id": 0}, DISAGREES),
        ({"is_response_1_safe": False}, UNSAFE),
        ({"better_response_id": 0, "safer_response_id": 0}, UNSAFE),
        ({"response_0": PKU["response_1"] + " "}, TIED),
        ({"response_0": " "}, UNCLEAR),
        ({"response_1": ""}, UNCLEAR),
    ],
)
def test_pku_saferlhf_teaches_no_harm_and_nothing_doubtful(columns, rule):
    found = compared(changed(PKU, **columns), "pku-saferlhf")
    assert (found.prompt, found.outcome.rule) == (RawPrompt(PKU["prompt"]), rule)


def test_labels_that_a_csv_file_made_texts_are_read():
    texts = {"better_response_id": "1", "safer_response_id": "1", "is_response_1_safe": "True"}
    assert outcome("pku-saferlhf", changed(PKU, **texts)) == outcome("pku-saferlhf", PKU)
    assert outcome("pku-saferlhf", changed(PKU, **texts, is_response_0_safe="x")) == outcome("pku-saferlhf", PKU)
    assert outcome("pku-saferlhf", changed(PKU, **{**texts, "is_response_1_safe": "False"})).rule == UNSAFE


def test_raw_ultrafeedback_corrects_the_worst_completion_by_the_best():
    expected = RawPreference("Rafting on the Nile.", "The pyramids, the museum and the bazaar.", "falcon-40b-instruct")
    assert compared(RAW, "ultrafeedback") == Compared(RawPrompt("What is there to see in Cairo?"), expected)


def scored(*scores: object) -> dict:
    return changed(
        RAW,
        completions=[{"model": "m", "response": f"text {n}", "overall_score": score} for n, score in enumerate(scores)],
    )


def test_of_equal_scores_the_first_completion_counts():
    assert outcome("ultrafeedback", scored(5, 1, 1, 9, 9)) == RawPreference("text 1", "text 3", "m")


def test_a_score_that_is_a_text_is_a_number_all_the_same():
    assert outcome("ultrafeedback", scored("10", "9")) == RawPreference("text 1", "text 0", "m")


@pytest.mark.parametrize(("scores", "rule"), [((7, 7.0, "7"), TIED), ((7,), UNCLEAR), ((), UNCLEAR)])
def test_completions_of_which_none_is_better_give_the_prompt_only(scores, rule):
    found = compared(scored(*scores), "ultrafeedback")
    assert (found.prompt.text, found.outcome.rule) == (RAW["instruction"], rule)


def test_a_completion_without_a_known_model_is_the_source_s():
    row = scored(2, 1)
    for named in (None, "", 5, "\ud800"):
        row["completions"][1]["model"] = named
        assert outcome("ultrafeedback", row) == RawPreference("text 1", "text 0", None)


@pytest.mark.parametrize("shape", ["ultrafeedback", "preference"])
def test_binarized_dialogues_repeat_their_prompt(shape):
    assert compared(BINARIZED, shape) == Compared(SKY, BLUE)
    without = {name: value for name, value in BINARIZED.items() if name != "prompt"}
    assert compared(without, shape) == Compared(SKY, BLUE)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"score_chosen": 3}, NoPreference(TIED, "both answers have the score 3")),
        ({"score_chosen": 2}, NoPreference(DISAGREES, "the chosen answer has the score 2, the rejected one 3")),
        ({"score_chosen": None}, BLUE),
        ({"rejected": [ASKED, GOOD]}, NoPreference(TIED, "both answers are the same text")),
        ({"score_chosen": "high"}, Broken("wrong_type", "score_chosen is 'high', not a number")),
        ({"score_rejected": float("nan")}, Broken("wrong_type", "score_rejected is nan, not a number")),
        ({"score_rejected": True}, Broken("wrong_type", "score_rejected is True, not a number")),
        ({"score_rejected": "9" * 400}, Broken("wrong_type", f"score_rejected is '{'9' * 59}, not a number")),
    ],
)
def test_scores_of_the_binarized_form_decide_ties(columns, expected):
    assert outcome("ultrafeedback", changed(BINARIZED, **columns)) == expected


SYSTEM = {"role": "system", "content": "Be kind."}


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": " Why is the sky blue?", "chosen": " " + GOOD["content"], "rejected": BAD["content"] + "\n"}, SKY),
        ({"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}, SKY),
        ({"prompt": [ASKED], "chosen": GOOD["content"], "rejected": [BAD]}, SKY),
        ({"prompt": [SYSTEM, ASKED], "chosen": [GOOD], "rejected": [BAD]}, RawPrompt(SKY.text, (Turn("system", "Be kind."),))),
        ({"prompt": "ignored", "chosen": [SYSTEM, ASKED, GOOD], "rejected": [SYSTEM, ASKED, BAD]}, RawPrompt(SKY.text, (Turn("system", "Be kind."),))),
        ({"prompt": "\n\nHuman: Hi\n\nAssistant: Hey\n\nHuman: Why is the sky blue?\n\nAssistant:", "chosen": GOOD["content"], "rejected": BAD["content"]}, RawPrompt(SKY.text, (Turn("user", "Hi"), Turn("assistant", "Hey")))),
        ({"chosen": "Human: Why is the sky blue?\n\nAssistant: Air scatters blue light more.", "rejected": "Human: Why is the sky blue?\n\nAssistant: It mirrors the sea."}, SKY),
    ],
)  # fmt: skip
def test_the_trainers_form_in_all_its_forms(row, prompt):
    assert compared(row, "preference") == Compared(prompt, BLUE)


def test_without_a_prompt_the_common_words_of_two_texts_are_it():
    row = {"chosen": "The sky is blue.", "rejected": "The sky is black."}
    assert compared(row, "preference") == Compared(RawPrompt("The sky is"), RawPreference("black.", "blue."))
    row = {"chosen": "Two and two make four", "rejected": "Two and two make four or five"}
    assert compared(row, "preference") == Compared(
        RawPrompt("Two and two make four"), NoPreference(UNCLEAR, "the chosen answer has no characters")
    )


@pytest.mark.parametrize("texts", [("Blue.", "Black."), ("the same", "the same"), ("", ""), ("", "Blue.")])
def test_texts_that_share_no_beginning_or_are_the_same_have_no_prompt(texts):
    found = compared(dict(zip(("chosen", "rejected"), texts, strict=True)), "preference")
    assert isinstance(found, Broken)
    assert found.kind == "no_prompt"


def test_an_answer_that_imitates_a_dialogue_stays_an_answer():
    row = {"prompt": "Why?", "chosen": "Human: because\n\nAssistant: so", "rejected": "No."}
    assert outcome("preference", row) == RawPreference("No.", "Human: because\n\nAssistant: so")


def test_an_assistant_s_turn_before_the_answer_is_no_preference():
    found = compared({"prompt": [ASKED, GOOD], "chosen": [GOOD], "rejected": [BAD]}, "preference")
    assert (found.prompt, found.outcome.rule) == (SKY, UNCLEAR)


COMPLETION = {"model": "m", "response": "text", "overall_score": 1}


@pytest.mark.parametrize(
    ("shape", "row", "kind"),
    [
        *[(shape, row, "wrong_shape") for shape in ROWS for row in (None, 5, [], "text")],
        *[(shape, {}, "missing_field") for shape in ROWS],
        ("hh-rlhf", changed(HH, rejected=None), "null_field"),
        ("hh-rlhf", changed(HH, rejected=["Sure."]), "wrong_type"),
        ("hh-rlhf", {"chosen": HH["chosen"]}, "missing_field"),
        ("hh-rlhf", changed(HH, chosen="no dialogue"), "no_prompt"),
        ("hh-rlhf", changed(HH, rejected=HH["rejected"] + "\ud800"), "invalid_unicode"),
        ("pku-saferlhf", changed(PKU, prompt=None), "null_field"),
        ("pku-saferlhf", changed(PKU, prompt=" "), "empty_prompt"),
        ("pku-saferlhf", changed(PKU, response_0=None), "null_field"),
        ("pku-saferlhf", changed(PKU, response_1=7), "wrong_type"),
        ("pku-saferlhf", changed(PKU, response_1="\udfff"), "invalid_unicode"),
        ("pku-saferlhf", changed(PKU, better_response_id=2), "wrong_type"),
        ("pku-saferlhf", changed(PKU, better_response_id=True), "wrong_type"),
        ("pku-saferlhf", changed(PKU, safer_response_id=None), "wrong_type"),
        ("pku-saferlhf", changed(PKU, safer_response_id=[1]), "wrong_type"),
        ("pku-saferlhf", changed(PKU, is_response_1_safe="maybe"), "wrong_type"),
        ("pku-saferlhf", changed(PKU, is_response_1_safe=1), "wrong_type"),
        ("ultrafeedback", changed(RAW, completions=None), "wrong_shape"),
        ("ultrafeedback", changed(RAW, completions="text"), "wrong_shape"),
        ("ultrafeedback", changed(RAW, completions=[None, COMPLETION]), "wrong_shape"),
        ("ultrafeedback", changed(RAW, completions=[COMPLETION, {"response": "x"}]), "missing_field"),
        ("ultrafeedback", changed(RAW, completions=[COMPLETION, {**COMPLETION, "response": None}]), "null_field"),
        ("ultrafeedback", scored(1, None), "wrong_type"),
        ("ultrafeedback", scored(1, []), "wrong_type"),
        ("ultrafeedback", scored(1, float("inf")), "wrong_type"),
        ("ultrafeedback", scored(1, 10**400), "wrong_type"),
        ("ultrafeedback", scored(1, "N/A"), "wrong_type"),
        ("ultrafeedback", changed(RAW, instruction=["a"]), "wrong_type"),
        ("preference", changed(BINARIZED, chosen=None), "null_field"),
        ("preference", changed(BINARIZED, chosen={"role": "user"}), "wrong_type"),
        ("preference", changed(BINARIZED, rejected=[ASKED, {"role": "assistant", "content": None}]), "wrong_shape"),
        ("preference", changed(BINARIZED, rejected=[ASKED, {"role": "alien", "content": "x"}]), "wrong_shape"),
        ("preference", changed(BINARIZED, rejected=[ASKED, {"role": "assistant", "content": "\ud800"}]), "invalid_unicode"),
        ("preference", changed(BINARIZED, prompt=None), "null_field"),
        ("preference", {"prompt": [], "chosen": [GOOD], "rejected": [BAD]}, "no_prompt"),
        ("preference", {"prompt": [SYSTEM], "chosen": [GOOD], "rejected": [BAD]}, "no_prompt"),
        ("preference", {"chosen": [GOOD], "rejected": [BAD]}, "no_prompt"),
        ("preference", {"chosen": 5, "rejected": "x"}, "wrong_type"),
    ],
)  # fmt: skip
def test_a_broken_row_says_what_is_wrong_with_it(shape, row, kind):
    found = outcome(shape, row)
    assert isinstance(found, Broken)
    assert found.kind == kind


@pytest.mark.parametrize("shape", ROWS)
def test_without_preferences_a_row_gives_the_same_prompt(shape):
    assert list(shape_of(shape, None)(ROWS[shape])) == [compared(ROWS[shape], shape).prompt]


@pytest.mark.parametrize(
    ("shape", "row", "prompt"),
    [
        ("pku-saferlhf", changed(PKU, response_0=None, better_response_id="x"), RawPrompt(PKU["prompt"])),
        ("ultrafeedback", changed(RAW, completions=None), RawPrompt(RAW["instruction"])),
        ("preference", {"prompt": "Why?", "chosen": None}, RawPrompt("Why?")),
        ("preference", {"prompt": "Why?"}, RawPrompt("Why?")),
    ],
)
def test_without_preferences_broken_answers_do_not_count(shape, row, prompt):
    assert list(shape_of(shape, None)(row)) == [prompt]


@pytest.mark.parametrize("shape", ROWS)
def test_a_row_is_the_same_after_json(shape):
    assert compared(json.loads(json.dumps(ROWS[shape])), shape) == compared(ROWS[shape], shape)
