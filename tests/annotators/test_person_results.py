"""What people's annotations say: strictly read, because the server takes anything."""

import json

import pytest

from annotators.label_studio.results import Said, WrongAnnotationError, read_annotation
from annotators.label_studio.screens import Step
from annotators.label_studio.tasks import PersonTask, as_json, diff_html

ANSWER, DRAFT = "It is 421 feet tall.", "It is 128 metres tall."


def area(*texts: str, name: str = "correction", kind: str = "textarea", to: str = "answer") -> dict:
    return {"from_name": name, "to_name": to, "type": kind, "value": {"text": list(texts)}}


def choice(*values: str, name: str = "verdict") -> dict:
    return {"from_name": name, "to_name": "answer", "type": "choices", "value": {"choices": list(values)}}


def rating(value: object, name: str = "helpfulness") -> dict:
    return {"from_name": name, "to_name": "answer", "type": "rating", "value": {"rating": value}}


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([choice("fine")], Said("fine", ANSWER)),
        ([choice("fine"), area(ANSWER + "\n")], Said("fine", ANSWER)),
        ([choice("fine"), area(DRAFT)], Said("fine", ANSWER)),
        ([choice("minor"), area(" Better. ")], Said("minor", "Better.")),
        ([choice("major"), area(DRAFT), rating(4)], Said("major", DRAFT, (), {"helpfulness": 4})),
        ([choice("reject"), choice("tone", "factual", name="reasons")], Said("reject", None, ("factual", "tone"))),
        ([choice("minor"), area("Better."), area("Better.")], Said("minor", "Better.")),
    ],
)
def test_a_whole_annotation_is_a_ruling(result, said):
    assert read_annotation(Step.CORRECT, result, ANSWER, DRAFT) == said


def test_line_ends_that_a_text_area_turned_are_no_edit():
    answer, touched = "One.\r\nTwo.\rThree.", "One.\nTwo.\nThree."
    assert read_annotation(Step.CORRECT, [choice("fine"), area(touched)], answer, answer) == Said("fine", answer)
    with pytest.raises(WrongAnnotationError, match="the correction is the text that it finds fault with"):
        read_annotation(Step.CORRECT, [choice("minor"), area(touched)], answer, answer)


@pytest.mark.parametrize(
    ("answer", "text"),
    [("One.\r\nTwo.", "One.\r\nThree."), ("One.\r\nTwo.\n", "One.\nThree."), ("One.", "One.\nThree.")],
)
def test_an_answer_whose_lines_all_end_in_crlf_is_corrected_in_such_lines(answer, text):
    assert read_annotation(Step.CORRECT, [choice("minor"), area("One.\nThree.")], answer, answer).text == text


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (None, "the result is no list"),
        ([], "no verdict"),
        ([area("Better.")], "no verdict"),
        ([choice("good")], "unknown verdict 'good'"),
        ([choice("fine", "minor")], "2 values of verdict"),
        ([choice("fine"), choice("minor")], "two different results of verdict"),
        ([choice("fine"), area("Edited.")], "fine as it is, beside an edited text"),
        ([choice("minor")], "minor without a correction"),
        ([choice("major"), area("  ")], "major without a correction"),
        ([choice("minor"), area(ANSWER)], "minor, and the correction is the text that it finds fault with"),
        ([choice("minor"), area("a", "b")], "2 values of correction"),
        ([choice("minor"), area("a", kind="labels")], "of another kind"),
        ([choice("minor"), area("a", to="question")], "of another kind or object"),
        ([choice("minor"), area("a", name="notes")], "unknown control 'notes'"),
        ([choice("minor"), {"from_name": "correction", "to_name": "answer", "type": "textarea"}], "has no value"),
        ([choice("minor"), area("a"), rating(6)], "the rating of helpfulness is 6"),
        ([choice("minor"), area("a"), rating(True)], "the rating of helpfulness is True"),
        ([choice("minor"), area("a"), choice("ugly", name="reasons")], "unknown reason 'ugly'"),
        ([choice("minor"), area("\ud800")], "half of a surrogate pair"),
        (["text"], "unknown control None"),
    ],
)
def test_what_cannot_be_used_says_why(result, why):
    with pytest.raises(WrongAnnotationError, match=why):
        read_annotation(Step.CORRECT, result, ANSWER, DRAFT)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([choice("fine"), area("It is\u2400 421 feet.")], Said("fine", "It is\0 421 feet.")),
        ([choice("fine"), area("It is\0 421 feet.")], Said("fine", "It is\0 421 feet.")),
        ([choice("minor"), area("It is\u2400 422 feet.")], Said("minor", "It is\0 422 feet.")),
        ([choice("minor"), area("It is 421 feet.")], Said("minor", "It is 421 feet.")),
    ],
)
def test_a_nul_that_people_see_as_a_sign_is_a_nul_again(result, said):
    assert read_annotation(Step.CORRECT, result, "It is\0 421 feet.", "It is\0 421 feet.") == said


def test_a_sign_for_nul_that_nobody_put_there_for_a_nul_stays():
    assert (
        read_annotation(Step.CORRECT, [choice("minor"), area("The sign \u2400!")], "The sign \u2400.", "").text
        == "The sign \u2400!"
    )
    assert (
        read_annotation(Step.CORRECT, [choice("minor"), area("\u2400\u2400!")], "\0\u2400", "").text == "\u2400\u2400!"
    )
    with pytest.raises(WrongAnnotationError, match="the correction is the text that it finds fault with"):
        read_annotation(Step.CORRECT, [choice("minor"), area("\u2400\u2400")], "\0\u2400", "")


def test_a_task_holds_no_nul():
    task = as_json(PersonTask("uid", "pair", "What is \0?", "It is \0.", "It is a \0."))
    assert "\\u0000" not in json.dumps(task)
    assert task["data"]["answer"] == "It is \u2400."


def test_a_task_holds_its_texts_as_data_and_its_draft_as_a_prediction():
    task = as_json(PersonTask("uid", "pair", "Q?", "<script>x</script>", DRAFT))
    assert task["data"]["answer"] == "<script>x</script>"
    assert task["meta"] == {"uid": "uid"}
    (prediction,) = task["predictions"]
    assert prediction["result"][0]["value"] == {"text": [DRAFT]}


def test_the_diff_is_html_of_ours_alone():
    hostile = '<script>alert(1)</script> & <img src=x onerror="y"> <ins>'
    shown = diff_html(hostile, hostile + "\nmore <b>")
    assert shown.count("<ins>") == shown.count("</ins>") == 1
    rest = shown.replace("<ins>", "").replace("</ins>", "").replace("<br>", "")
    assert "<" not in rest
    assert json.dumps(diff_html("a", "a")) == '"<p>Nothing: it is the answer itself.</p>"'
