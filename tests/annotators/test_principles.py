"""Principles and templates are data: ours are whole, a team's own are read, and a broken file is told by its name."""

import re
from pathlib import Path

import pytest

from annotators import principles, template
from annotators.principles import chosen, listed, rules_of
from annotators.template import CORRECTING, read_template
from schemas.errors import ConfigError

EVERY = CORRECTING | {"violations", "verdicts"}
OWN = 'name = "kind"\nversion = 3\ntext = "Be kind."\n[[rules]]\nname = "rude"\ntext = "It is rude."\n'


def test_every_principle_of_ours_knows_its_name_and_has_rules():
    for name in principles.own_names():
        (one,) = chosen([name], Path())
        assert one.name == name
        assert one.rules


def test_harmless_has_the_fourteen_categories_of_the_paper():
    (harmless,) = chosen(["harmless"], Path())
    assert len(harmless.rules) == 14


def test_principles_are_listed_in_the_order_given():
    text = listed(chosen(["honest", "helpful"], Path()))
    assert text.index("- honest:") < text.index("- helpful:")
    assert "- harmless:" not in text


def test_a_team_brings_its_own_principle(tmp_path):
    (tmp_path / "kind.toml").write_text(OWN)
    found = chosen(["helpful", "kind.toml"], tmp_path)
    assert found[1].version == 3
    assert rules_of(found)["kind.rude"] == "It is rude."


def test_a_principle_without_rules_is_one_itself(tmp_path):
    (tmp_path / "short.toml").write_text('name = "short"\nversion = 1\ntext = "Be short."\n')
    assert rules_of(chosen(["short.toml"], tmp_path)) == {"short": "Be short."}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "mine.toml cannot be read"),
        ("name = ", "mine.toml"),
        ('name = "kind"\nversion = 1\n', "missing required field `text`"),
        (OWN + "extra = 1\n", "unknown field `extra`"),
        (OWN.replace('"kind"', '"Kind of"'), "'Kind of' is no name"),
        (OWN + '[[rules]]\nname = "rude"\ntext = "Again."\n', "two rules have one name"),
    ],
)
def test_a_broken_principle_is_told_by_its_file(tmp_path, content, words):
    if content is not None:
        (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(ConfigError, match=re.escape(words)):
        chosen(["mine.toml"], tmp_path)


def test_unknown_and_doubled_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown principle: kind"):
        chosen(["helpful", "kind"], tmp_path)
    with pytest.raises(ConfigError, match="two principles have the name helpful"):
        chosen(["helpful", "helpful"], tmp_path)


@pytest.mark.parametrize("name", template.own_names())
def test_every_template_of_ours_is_whole(name):
    one = read_template(name, Path(), EVERY)
    assert one.name == name
    assert one.reminder.strip()
    assert len(one.marks) > 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("{answer}", "the answer"), "no slot for answer"),
        (("{question}", "{question} {first}"), "nothing fills the slot first"),
        (('reply = "tagged"', 'reply = "verdicts"'), 'has reply = "verdicts"'),
        (('reply = "tagged"', 'reply = "free"'), "Invalid enum value 'free'"),
        (('reply = "tagged"', 'reply = "bracketed"'), "needs `marker`"),
        (("An earlier reply", "An earlier reply on {violations}"), "nothing fills the slot violations"),
        (("A reviewer found", "On {question} a reviewer found"), "nothing fills the slot question"),
        (("{violations}", "several"), "critique has no slot for violations"),
        (("{critique}", ""), "no slot for critique"),
        (('"<unchanged/>"', '"#"'), "the mark '#' is too short"),
    ],
)
def test_a_broken_template_is_refused(tmp_path, change, words):
    ours = (template.OURS / "editor.toml").read_text()
    (tmp_path / "mine.toml").write_text(ours.replace(*change))
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_template("mine.toml", tmp_path, CORRECTING)
