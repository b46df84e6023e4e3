import pytest

from annotators.principles import PRINCIPLES, chosen
from annotators.template import correction_turns, read_correction
from schemas.errors import ConfigError, RequestError
from schemas.records import CorrectionTask, Turn

TASK = CorrectionTask("id", "What is {answer}?", "It is {question} and {0}.")


def test_braces_in_texts_are_only_text():
    _, user = correction_turns(TASK, chosen(("helpful",)))
    assert "What is {answer}?" in user.text
    assert "It is {question} and {0}." in user.text


def test_earlier_turns_stand_in_the_question():
    task = CorrectionTask("id", "And then?", "Nothing.", (Turn("user", "Tell a story."), Turn("assistant", "Once…")))
    _, user = correction_turns(task, chosen(("honest",)))
    assert "user: Tell a story.\n\nassistant: Once…\n\nuser: And then?" in user.text


def test_only_chosen_principles_are_shown_in_order():
    system, _ = correction_turns(TASK, chosen(("honest", "helpful")))
    assert system.text.index("Honest:") < system.text.index("Helpful:")
    assert "Harmless:" not in system.text


def test_an_unknown_principle_is_refused():
    with pytest.raises(ConfigError, match="unknown principle: kind"):
        chosen(("helpful", "kind"))


@pytest.mark.parametrize(
    "reply",
    [
        "<correction>It is {question} and {0}.</correction>",
        "x<correction>\n\nIt is {question} and {0}. \n</correction>",
    ],
)
def test_a_copy_is_the_answer_byte_for_byte(reply):
    assert read_correction(TASK, reply) == TASK.answer


def test_marks_inside_the_correction_stay():
    assert (
        read_correction(TASK, "<correction>Write </correction> to end.</correction>") == "Write </correction> to end."
    )


@pytest.mark.parametrize("reply", ["", "text", "</correction><correction>", "<correction>cut off"])
def test_a_reply_without_marks_is_not_guessed(reply):
    with pytest.raises(RequestError, match="unmarked_correction"):
        read_correction(TASK, reply)


def test_every_principle_knows_its_name():
    assert all(name == principle.name for name, principle in PRINCIPLES.items())
