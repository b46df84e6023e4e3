"""A training template as a chat template: the Jinja text by which transformers and servers write what an Aligner reads.

Messages are the question (user) and the answer (assistant), after earlier turns if there are any. The ids are those of
`tokens.prompt_ids`. Jinja has no regular expressions: marks are escaped letter by letter, as annotators/marks.py does.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from curate.training.templates import SLOTS, Template
from curate.training.tokens import prompt_ids

JINJA = """\
{%- macro quoted(text) -%}
  {%- for part in text.split("&") -%}
    {%- if not loop.first -%}{{- "&" -}}{%- endif -%}
    {%- if not loop.first and part.startswith(("#", "amp;")) -%}
      {%- set ns = namespace(at=0) -%}
      {%- for _ in part.split("amp;") -%}
        {%- if part.startswith("amp;", ns.at) -%}{%- set ns.at = ns.at + 4 -%}{%- endif -%}
      {%- endfor -%}
      {%- set digits, _, rest = part[ns.at + 1:ns.at + 9].partition(";") -%}
      {%- if part.startswith("#", ns.at) and part.startswith(digits ~ ";", ns.at + 1) and digits.isdecimal()
             and digits[0] in "123456789" and digits|int in LETTERS.values() -%}{{- "amp;" -}}{%- endif -%}
    {%- endif -%}
    {{- part -}}
  {%- endfor -%}
{%- endmacro -%}
{%- macro escaped(given) -%}
  {%- set text = quoted(given) if MARKS and "#" in given else given -%}
  {%- set ns = namespace(folded=text, at=0, start=0) -%}
  {%- for letter, other in FOLDS -%}{%- set ns.folded = ns.folded.replace(letter, other) -%}{%- endfor -%}
  {%- set folded = ns.folded -%}
  {%- set ns.firsts = FIRSTS if MARKS|select("in", folded)|first else () -%}
  {%- for letter in ns.firsts -%}{%- set ns.folded = ns.folded.replace(letter, "\\0") -%}{%- endfor -%}
  {%- for part in ns.folded.split("\\0") -%}
    {%- set ns.at = ns.at + part|length -%}
    {%- if not loop.last -%}
      {%- if text[ns.at] in LETTERS and folded.startswith(MARKS, ns.at) -%}
        {{- text[ns.start:ns.at] ~ "&#" ~ LETTERS[text[ns.at]] ~ ";" -}}
        {%- set ns.start = ns.at + 1 -%}
      {%- endif -%}
      {%- set ns.at = ns.at + 1 -%}
    {%- endif -%}
  {%- endfor -%}
  {{- text[ns.start:] -}}
{%- endmacro -%}
{%- if not add_generation_prompt -%}
  {{- raise_exception("This template writes what the Aligner reads before a correction: give add_generation_prompt=True"
                      ~ " (to a pipeline continue_final_message=False).") -}}
{%- endif -%}
{%- if messages|length < 2 or messages[-2]["role"] != "user" or messages[-1]["role"] != "assistant" -%}
  {{- raise_exception("The Aligner corrects an answer: the last two messages are a question (user) and its answer"
                      ~ " (assistant).") -}}
{%- endif -%}
{%- for message in messages -%}
  {%- if message["role"] not in ("user", "assistant") -%}
    {{- raise_exception("The Aligner reads turns of user and assistant, no others.") -}}
  {%- endif -%}
  {%- if message["content"] is not string -%}
    {{- raise_exception("The Aligner reads text: the content of a message is one string.") -}}
  {%- endif -%}
{%- endfor -%}
{%- set question = messages[:-1]|map(attribute="content")|join("\\n") -%}
{%- set ns = namespace(text=HEAD ~ escaped(question) ~ MIDDLE ~ escaped(messages[-1]["content"]) ~ TAIL) -%}
{%- for spelled, shown in CONTROLS -%}{%- set ns.text = ns.text.replace(spelled, shown) -%}{%- endfor -%}
{{- START ~ ns.text -}}
"""
PROBES = (("How tall is it?", "It is 3 feet tall."), ("", ""), (" Why? ", "\nBecause <b>.\n"), ("é ∑ 火", "a\tb  c"))
"""Questions and answers on which the ids of a chat template are compared with those of training."""


def chat_template(template: Template, tokenizer: Any) -> str | None:
    """The Jinja text for an Aligner of this template and tokenizer; None where none gives the ids of training.

    A text that spells a control token of the tokenizer (`</s>`) has it with a reference (`&#60;/s>`), as otherwise it
    would be read as that token; in training it is plain letters. All other texts have the ids of training.
    """
    starts = ("''",) if tokenizer.bos_token is None else ("bos_token", "bos_token ~ ' '")
    made = (_jinja(template, _controls(tokenizer), start) for start in starts)
    return next((one for one in made if all(_is_exact(template, tokenizer, one, *probe) for probe in PROBES)), None)


def _is_exact(template: Template, tokenizer: Any, jinja: str, question: str, answer: str) -> bool:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    ids = tokenizer.apply_chat_template(messages, chat_template=jinja, add_generation_prompt=True, return_dict=False)
    return bool(ids == prompt_ids(tokenizer, [template.prompt(question, answer)])[0])


def _jinja(template: Template, controls: Sequence[str], start: str) -> str:
    head, _, rest = template.text.partition(SLOTS[0])
    middle, _, tail = rest.partition(SLOTS[1])
    folds = _folds("".join(template.marks))
    folded = tuple("".join(folds.get(letter, letter) for letter in mark) for mark in template.marks)
    firsts = sorted({letter for mark in template.marks for letter in (mark[0].lower(), mark[0].upper())})
    values = {
        "HEAD": head,
        "MIDDLE": middle,
        "TAIL": tail,
        "MARKS": folded,
        "FIRSTS": tuple(sorted({mark[0] for mark in folded})),
        "FOLDS": tuple(folds.items()),
        "LETTERS": {letter: ord(letter) for letter in firsts if len(letter) == 1},
        "CONTROLS": tuple((one, f"&#{ord(one[0])};{one[1:]}") for one in controls),
    }
    lines = [f"{{%- set {name} = {value!a} -%}}\n" for name, value in values.items()]
    return f"{{%- set START = {start} -%}}\n" + "".join(lines) + JINJA


@cache
def _folds(letters: str) -> Mapping[str, str]:
    """The character that stands for another one of `letters` where `re` ignores case."""
    if not letters:
        return {}
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    alike = re.findall(f"[{re.escape(letters)}]", everything, re.IGNORECASE)
    folds: dict[str, str] = {}
    for letter in sorted(set(letters)):
        for one in alike:
            if one not in folds and re.fullmatch(re.escape(letter), one, re.IGNORECASE):
                folds[one] = folds.get(letter, letter)
    return {one: letter for one, letter in folds.items() if one != letter}


def _controls(tokenizer: Any) -> list[str]:
    """Texts that transformers reads as control tokens, the longest first."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted(special, key=lambda one: (-len(one), one))
