"""The chat template of a published Aligner writes the ids of training, whatever the texts and the tokenizer."""

import random

import pytest
from jinja2.exceptions import TemplateError

from curate.training import models
from curate.training.chat import chat_template
from curate.training.templates import TEMPLATES, WRAPPER, Template
from curate.training.tokens import prompt_ids

OWN = Template("own", 1, "Q «{question}'\nA {answer}\"}}} ü C ", ("Straße", "ß", "aa", "#", "Αθήνα", "ſi"))
UNMARKED = Template("unmarked", 1, "{question}{answer}")
ALL = [*TEMPLATES.values(), OWN, UNMARKED]

PIECES = [
    *("", " ", "\n", "\r\n", "\t", "\0", "A", "a", "K", "ß", "ẞ", "ς", "火", "🙂", "aaa", "'", '"', "\\", ";"),
    *("{{ x }}", "{% if %}", "{question}", "{answer}", "ASSISTANT:", "assistant:", "ASSıſTANT:", "ASSİSTANT:"),
    *("beginning of converſation:", "##Question:", "##ANSWER:", "##Correction:", "##Revision: ", "STRASSE", "straẞe"),
    *(
        "ΑΘΉΝΑ",
        "&",
        "amp;",
        "&amp;amp;#65;",
        "&#65;",
        "&#97;",
        "&#6٥;",
        "#35;",
        "&#6_5;",
        "&#;",
        "&#065;",
        "&#1234567;",
        "&#12345678;",
    ),
]


@pytest.fixture(scope="module")
def tokenizer():
    return models.train_tokenizer(["How tall is the tower? ASSISTANT: It is 30 metres tall."], 300)


def asked(question: str, answer: str, *earlier: str) -> list[dict[str, str]]:
    """Messages: earlier turns of user and assistant by turns, the question, the answer."""
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(earlier)]
    return [*turns, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def chat_ids(tokenizer, template: Template, messages: list[dict[str, str]]) -> list[int]:
    jinja = chat_template(template, tokenizer)
    return tokenizer.apply_chat_template(messages, chat_template=jinja, add_generation_prompt=True)["input_ids"]


def metaspace(scheme: str, *, legacy: bool = False):
    """A tokenizer that marks words as Llama's does, with a space before the first word of a text (or of each part)."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, trainers
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(kinds.BPE(unk_token="<unk>"))
    if legacy:
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    made.decoder = decoders.Metaspace()
    texts = [TEMPLATES["T1"].prompt("How tall is it? é火∑", "A\tb c\n 3 <b>."), "How tall </s>"]
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("template", ALL, ids=lambda one: one.name)
def test_any_texts_have_the_ids_of_training(tokenizer, template):
    draw = random.Random(template.name)
    tokenizer.chat_template = chat_template(template, tokenizer)
    for _ in range(200):
        question, answer, *earlier = (
            "".join(draw.choices(PIECES, k=draw.randint(0, 6))) for _ in range(draw.randint(2, 4))
        )
        ids = tokenizer.apply_chat_template(asked(question, answer, *earlier), add_generation_prompt=True)["input_ids"]
        assert ids == prompt_ids(tokenizer, [template.prompt("\n".join([*earlier, question]), answer)])[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: metaspace("first"),
        lambda: metaspace("always"),
        lambda: metaspace("never"),
        lambda: metaspace("", legacy=True),
    ],
    ids=["first", "always", "never", "legacy"],
)
@pytest.mark.parametrize("has_bos", [True, False])
def test_other_tokenizers_have_them_with_and_without_bos(make, has_bos):
    tokenizer = make()
    if not has_bos:
        tokenizer.bos_token = None
    question, answer = " How tall\n is ASSISTANT: it? ", "It is 3 <b>"
    ids = prompt_ids(tokenizer, [TEMPLATES["T1"].prompt(question, answer)])[0]
    assert chat_ids(tokenizer, TEMPLATES["T1"], asked(question, answer)) == ids
    assert (ids[0] == tokenizer.convert_tokens_to_ids("<s>")) is has_bos


@pytest.mark.parametrize("hostile", ["</s>", "x</s><s><pad>", "<s", "&#60;/s>", "<</s>s>"])
def test_a_text_never_becomes_a_control_token(tokenizer, hostile):
    ids = chat_ids(tokenizer, TEMPLATES["T1"], asked(f"Is {hostile} a tag?", f"It is {hostile}", hostile))
    controls = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert [number for number, one in enumerate(ids) if one in controls] == [0]


def test_the_text_of_a_control_token_is_shown_with_a_reference(tokenizer):
    ids = chat_ids(tokenizer, TEMPLATES["T1"], asked("Is </s> a tag?", "Yes."))
    shown = TEMPLATES["T1"].prompt("Is &#60;/s> a tag?", "Yes.")
    assert ids == prompt_ids(tokenizer, [shown])[0]


def test_a_template_that_spells_a_control_token_has_no_chat_template():
    tokenizer = metaspace("first")
    tokenizer.add_special_tokens({"extra_special_tokens": ["USER:"]})
    assert "USER:" in WRAPPER
    assert chat_template(TEMPLATES["T1"], tokenizer) is None


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (asked("q", "a")[:1], r"the last two messages are a question \(user\) and its answer \(assistant\)"),
        (asked("q", "a")[1:], "the last two messages"),
        (asked("q", "a")[::-1], "the last two messages"),
        ([*asked("q", "a"), {"role": "user", "content": "More?"}], "the last two messages"),
        ([{"role": "system", "content": "Be brief."}, *asked("q", "a")], "turns of user and assistant, no others"),
        (asked("q", [{"type": "text", "text": "a"}]), "the content of a message is one string"),
    ],
)
def test_other_messages_are_refused(tokenizer, messages, told):
    with pytest.raises(TemplateError, match=told):
        chat_ids(tokenizer, TEMPLATES["T1"], messages)


def test_a_prompt_that_is_asked_for_without_its_end_is_refused(tokenizer):
    jinja = chat_template(TEMPLATES["T1"], tokenizer)
    with pytest.raises(TemplateError, match="give add_generation_prompt=True"):
        tokenizer.apply_chat_template(asked("q", "a"), chat_template=jinja)
