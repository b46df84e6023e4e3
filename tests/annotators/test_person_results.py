"""What people's annotations say: strictly read, because the server takes anything."""

import json

import pytest

from annotators.label_studio.results import Said, WrongAnnotationError, read_annotation
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
    assert read_annotation(result, ANSWER, DRAFT) == said


def test_line_ends_that_a_text_area_turned_are_no_edit():
    answer, touched = "One.\r\nTwo.\rThree.", "One.\nTwo.\nThree."
    assert read_annotation([choice("fine"), area(touched)], answer, answer) == Said("fine", answer)
    with pytest.raises(WrongAnnotationError, match="the correction is the answer"):
        read_annotation([choice("minor"), area(touched)], answer, answer)


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
        ([choice("minor"), area(ANSWER)], "minor, and the correction is the answer"),
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
        read_annotation(result, ANSWER, DRAFT)


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
    assert json.dumps(diff_html("a", "a")) == '"<p>The draft is the answer itself.</p>"'
