"""The order of people's work, without a server: whose rulings count, and what comes next."""

from dataclasses import replace

from annotators.label_studio.screens import Step
from curate.labelling.workflow import NO_NOTE, Asked, adjudication, standing
from curate.ledger.labels import Ruling

ASKED = Asked("p", "team", "pair", "How tall is it?", "It is 421 feet tall.", "It is 128 metres tall.")


def ruling(text, person="ann", verdict="minor", number=1):
    return Ruling(number, "project", person, verdict, text, (), 10.0)


def only(found):
    (task,) = found.open
    return task


def test_at_first_somebody_must_correct_from_the_draft():
    found = standing(ASKED, {})
    assert (found.rulings, found.missing) == ([], 1)
    assert (only(found).step, only(found).draft, only(found).kept) == (Step.CORRECT, ASKED.draft, ASKED.answer)


def test_a_task_is_the_same_whatever_its_draft():
    assert only(standing(ASKED, {})).uid == only(standing(replace(ASKED, draft="Another draft."), {})).uid


def test_the_newest_ruling_counts():
    said = {only(standing(ASKED, {})).uid: [ruling("Old."), ruling("New.", "bob")]}
    found = standing(ASKED, said)
    assert ([one.text for one in found.rulings], found.open, found.missing) == (["New."], [], 0)


def test_several_people_do_an_overlapping_task():
    asked = replace(ASKED, people=2)
    task = only(standing(asked, {}))
    assert (task.people, standing(asked, {}).missing) == (2, 2)
    half = standing(asked, {task.uid: [ruling("One.")]})
    assert ([one.text for one in half.rulings], only(half).uid, half.missing) == (["One."], task.uid, 1)
    whole = standing(asked, {task.uid: [ruling("One."), ruling("Two.", "bob"), ruling("Three.", "cy")]})
    assert ([one.text for one in whole.rulings], whole.open) == (["Two.", "Three."], [])


def test_two_stages_show_the_harmless_version_and_keep_it_where_it_is_fine():
    asked = replace(ASKED, is_two_stage=True)
    first = only(standing(asked, {}))
    said = {first.uid: [ruling("A harmless text.")]}
    second = only(standing(asked, said))
    assert (first.step, second.step) == (Step.HARMLESS, Step.HELPFUL)
    assert (second.harmless, second.draft, second.kept, second.answer) == (
        *("A harmless text.", "A harmless text.", "A harmless text."),
        ASKED.answer,
    )
    found = standing(asked, said | {second.uid: [ruling("A harmless and helpful text.")]})
    assert [one.text for one in found.rulings] == ["A harmless and helpful text."]


def test_an_edited_first_stage_asks_for_a_new_second_stage():
    asked = replace(ASKED, is_two_stage=True)
    first = only(standing(asked, {}))
    second = only(standing(asked, {first.uid: [ruling("One.")]}))
    said = {first.uid: [ruling("Edited.")], second.uid: [ruling("Of the old text.")]}
    assert only(standing(asked, said)).harmless == "Edited."


def test_a_pair_that_the_first_stage_rejects_ends_there():
    asked = replace(ASKED, is_two_stage=True, people=2)
    first = only(standing(asked, {}))
    found = standing(asked, {first.uid: [ruling(None, verdict="reject")]})
    assert (len(found.rulings), found.open, found.missing) == (1, [], 0)


def test_an_inspected_correction_waits_and_stays_where_it_is_accepted():
    asked = replace(ASKED, is_inspected=True)
    said = {only(standing(asked, {})).uid: [ruling("Mine.")]}
    found = standing(asked, said)
    assert (found.rulings, found.missing, only(found).step, only(found).draft) == ([], 1, Step.INSPECT, "Mine.")
    accepted = standing(asked, said | {only(found).uid: [ruling(None, "eve", "accept", 7)]})
    assert [(one.text, one.person) for one in accepted.rulings] == [("Mine.", "ann")]


def test_an_inspector_who_rejects_ends_the_pair():
    asked = replace(ASKED, is_inspected=True)
    said = {only(standing(asked, {})).uid: [ruling("Mine.")]}
    inspection = only(standing(asked, said))
    (one,) = standing(asked, said | {inspection.uid: [ruling("Not true.", "eve", "reject", 7)]}).rulings
    assert (one.text, one.person, one.reasons) == (None, "eve", ("Not true.",))


def test_what_is_sent_back_is_written_and_inspected_again():
    asked = replace(ASKED, is_inspected=True)
    said = {only(standing(asked, {})).uid: [ruling("Mine.")]}
    said |= {only(standing(asked, said)).uid: [ruling("Too long.", "eve", "send_back", 7)]}
    again = only(standing(asked, said))
    assert (again.step, again.draft, again.note, again.kept) == (Step.AGAIN, "Mine.", "Too long.", ASKED.answer)
    said |= {again.uid: [ruling("Short.", "bob", number=9)]}
    second = only(standing(asked, said))
    assert (second.step, second.draft) == (Step.INSPECT, "Short.")
    (one,) = standing(asked, said | {second.uid: [ruling(None, "eve", "accept", 11)]}).rulings
    assert one.text == "Short."


def test_a_note_that_is_missing_is_told():
    asked = replace(ASKED, is_inspected=True)
    said = {only(standing(asked, {})).uid: [ruling("Mine.")]}
    said |= {only(standing(asked, said)).uid: [ruling(None, "eve", "send_back", 7)]}
    assert only(standing(asked, said)).note == NO_NOTE


def test_copies_are_inspected_and_rejected_pairs_are_not():
    asked = replace(ASKED, is_inspected=True)
    uid = only(standing(asked, {})).uid
    assert only(standing(asked, {uid: [ruling(ASKED.answer, verdict="fine")]})).step is Step.INSPECT
    assert standing(asked, {uid: [ruling(None, verdict="reject")]}).open == []


def test_an_edit_after_an_inspection_is_inspected_anew():
    asked = replace(ASKED, is_inspected=True)
    uid = only(standing(asked, {})).uid
    inspection = only(standing(asked, {uid: [ruling("Mine.")]}))
    said = {uid: [ruling("Edited since.")], inspection.uid: [ruling(None, "eve", "accept", 7)]}
    assert only(standing(asked, said)).draft == "Edited since."


def test_an_adjudication_is_the_same_in_whatever_order_its_texts_come():
    texts = [(f"{number:032x}", f"Text {number}.") for number in range(4)]
    one = adjudication("p", "pair", "Q?", "A.", texts)
    assert one == adjudication("p", "pair", "Q?", "A.", texts[::-1])
    assert {*zip(one.subject, one.texts, strict=True)} == {*texts}


def test_what_is_sent_back_after_two_stages_keeps_the_harmless_version_where_it_is_fine():
    asked = replace(ASKED, is_two_stage=True, is_inspected=True)
    said = {only(standing(asked, {})).uid: [ruling("Harmless.")]}
    said |= {only(standing(asked, said)).uid: [ruling("Helpful.", number=2)]}
    said |= {only(standing(asked, said)).uid: [ruling("Too long.", "eve", "send_back", 7)]}
    again = only(standing(asked, said))
    assert (again.step, again.harmless, again.kept, again.is_two_stage) == (Step.AGAIN, "Harmless.", "Harmless.", True)


def test_an_edited_note_is_another_task():
    asked = replace(ASKED, is_inspected=True)
    said = {only(standing(asked, {})).uid: [ruling("Mine.")]}
    inspection = only(standing(asked, said)).uid
    tasks = [
        only(standing(asked, said | {inspection: [ruling(note, "eve", "send_back", 7)]})) for note in ("Long.", "Rude.")
    ]
    assert tasks[0].uid != tasks[1].uid
