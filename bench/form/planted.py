"""Pairs with planted duplicates and near misses: real questions and answers, each edited in one known way.

Kinds that say the same: formatting, typos, preamble, dropped sentence, paraphrase. Kinds that do not: number, unit,
negation, antonym, entity, other model. Each base pair is edited once, so that no edit hides another.
"""

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
REAL = ROOT.parent / "shared" / "data"
SAME = ("formatting", "typos", "preamble", "dropped sentence", "paraphrase")
LEXICAL = ("formatting", "typos", "preamble", "dropped sentence")
DIFFERENT = ("number", "unit", "negation", "antonym", "entity", "other model")

Pair = tuple[str, str]


@dataclass(frozen=True)
class Planted:
    """A base pair and its edit; half 0 is for tuning, half 1 for reporting."""

    kind: str
    half: int
    base: Pair
    edited: Pair


PREAMBLES = (
    "Sure! Here is an answer to your question:\n\n",
    "Of course, I'd be happy to help with that. ",
    "Great question! ",
    "Certainly! ",
)
UNITS = (
    ("kilometers", "miles"), ("metres", "feet"), ("meters", "feet"), ("kg", "pounds"), ("pounds", "kilograms"),
    ("miles", "kilometers"), ("feet", "metres"), ("inches", "centimetres"), ("hours", "minutes"), ("minutes", "hours"),
    ("days", "weeks"), ("weeks", "months"), ("years", "months"), ("dollars", "euros"), ("cups", "tablespoons"),
    ("ounces", "grams"), ("percent", "points"),
)  # fmt: skip
ANTONYMS = (
    ("increase", "decrease"), ("high", "low"), ("large", "small"), ("best", "worst"), ("before", "after"),
    ("hot", "cold"), ("good", "bad"), ("more", "less"), ("first", "last"), ("often", "rarely"), ("easy", "difficult"),
    ("early", "late"), ("open", "closed"), ("old", "new"), ("strong", "weak"), ("always", "seldom"),
)  # fmt: skip
NEGATED = (
    (" is ", " is not "), (" are ", " are not "), (" can ", " cannot "), (" should ", " should not "),
    (" will ", " will not "), (" was ", " was not "), (" has ", " has never "),
)  # fmt: skip
NAMES = ("Nakamura", "Lisbon", "Okafor", "Norway", "Fernandez", "Quebec", "Ivanova", "Kenya")


def planted(most: int) -> Iterator[Planted]:
    """About `most` base pairs with one edit each, the same on every machine; then paraphrases of a grammar."""
    bases = list(_bases())
    draw = random.Random(7)
    draw.shuffle(bases)
    kinds = [kind for kind in (*SAME, *DIFFERENT) if kind not in {"paraphrase", "other model"}]
    number = 0
    for pair in bases:
        if number >= most:
            break
        for turn in range(len(kinds)):
            kind = kinds[(number + turn) % len(kinds)]
            edited = EDITS[kind](pair, draw)
            if edited is not None:
                yield Planted(kind, draw.randrange(2), pair, edited)
                number += 1
                break
    yield from _other_models(most // 10, draw)
    yield from _paraphrases(draw)


def _bases() -> Iterator[Pair]:
    """Questions with answers of 60 to 4,000 characters; none stands twice, or among those of `_other_models`."""
    seen: set[str] = set()
    for name in ("gsm8k_train.json.gz", "gpteacher_roleplay.json.gz"):
        with gzip.open(REAL / "prompts" / name, "rt", encoding="utf-8") as file:
            for row in json.load(file):
                question = " ".join(part for part in (row["instruction"], row.get("input", "")) if part).strip()
                answer = (row.get("response") or row.get("output") or "").strip()
                if question.lower() not in seen and 60 <= len(answer) <= 4000 and len(question) >= 20:
                    seen.add(question.lower())
                    yield question, answer
    for question, answers in _evaluated():
        if question.lower() not in seen and answers and sum(map(ord, question)) % 2:
            yield question, answers[sum(map(ord, question)) % len(answers)]


def _evaluated() -> Iterator[tuple[str, list[str]]]:
    import polars as pl

    frame = pl.read_parquet(REAL / "answers" / "alpaca_eval_answers.parquet").sort("prompt", "model")
    for (question,), rows in frame.group_by("prompt", maintain_order=True):
        yield str(question).strip(), [answer for answer in rows["answer"].to_list() if 60 <= len(answer) <= 4000]


def _other_models(most: int, draw: random.Random) -> Iterator[Planted]:
    for question, answers in _evaluated():
        if not sum(map(ord, question)) % 2 and len(answers) >= 2 and most > 0:
            one, other = draw.sample(answers, 2)
            if one != other:
                yield Planted("other model", draw.randrange(2), (question, one), (question, other))
                most -= 1


def _paraphrases(draw: random.Random) -> Iterator[Planted]:
    """Each phrasing of a hand-written intent beside the first one, with the same answer in nearly the same words."""
    for intent in json.loads((Path(__file__).parent / "paraphrases.json").read_text(encoding="utf-8")):
        phrasings = intent["phrasings"]
        for slot in intent["slots"]:
            said = intent["answer"].format(slot)
            for phrasing in phrasings[1:]:
                softened = f"{said[:-1]}, as a rule." if draw.random() < 0.5 else said
                yield Planted(
                    "paraphrase",
                    draw.randrange(2),
                    (phrasings[0].format(slot), said),
                    (phrasing.format(slot), softened),
                )


def _formatting(pair: Pair, draw: random.Random) -> Pair | None:
    question, answer = pair
    sentences = re.split(r"(?<=[.!?]) ", answer)
    marked = draw.randrange(len(sentences))
    sentences[marked] = f"**{sentences[marked]}**"
    return question.replace("?", " ?").replace(", ", ",  "), "\n\n".join(sentences)


def _typos(pair: Pair, draw: random.Random) -> Pair | None:
    question, answer = pair
    for _ in range(max(1, len(answer) // 250)):
        answer = _swapped(answer, draw)
    return _swapped(question, draw), answer


def _swapped(text: str, draw: random.Random) -> str:
    places = [place for place in range(1, len(text) - 2) if text[place : place + 2].isalpha()]
    if not places:
        return text
    place = draw.choice(places)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def _preamble(pair: Pair, draw: random.Random) -> Pair | None:
    return pair[0], draw.choice(PREAMBLES) + pair[1]


def _dropped_sentence(pair: Pair, draw: random.Random) -> Pair | None:
    sentences = re.split(r"(?<=[.!?])\s+", pair[1])
    plain = [place for place, text in enumerate(sentences) if len(text) < len(pair[1]) / 4 and not _counts(text)]
    if len(sentences) < 5 or not plain:
        return None
    del sentences[draw.choice(plain)]
    return pair[0], " ".join(sentences)


def _counts(text: str) -> bool:
    """A sentence with a number or a negation says something of its own: without it the answer is another one."""
    return bool(re.search(r"\d|\b(?:not?|never|none|nothing|without|cannot|nor)\b|n['’]t\b", text, re.IGNORECASE))


def _number(pair: Pair, draw: random.Random) -> Pair | None:
    for part in draw.sample((0, 1), 2):
        found = list(re.finditer(r"(?<![\d.,])\d{1,4}(?![\d.,]*\d)", pair[part]))
        if found:
            one = draw.choice(found)
            return _put(pair, part, one, str(int(one[0]) + draw.choice((1, 2, 10))))
    return None


def _replaced(pairs: tuple[tuple[str, str], ...]) -> Callable[[Pair, random.Random], Pair | None]:
    def edit(pair: Pair, draw: random.Random) -> Pair | None:
        for old, new in draw.sample(pairs, len(pairs)):
            pattern = rf"\b{re.escape(old)}\b" if old.strip() == old else re.escape(old)
            for part in (1, 0):
                if one := re.search(pattern, pair[part]):
                    return _put(pair, part, one, new)
        return None

    return edit


def _entity(pair: Pair, draw: random.Random) -> Pair | None:
    found = list(re.finditer(r"(?<=[a-z,] )[A-Z][a-z]{3,}\b", pair[1]))
    return _put(pair, 1, draw.choice(found), draw.choice(NAMES)) if found else None


def _put(pair: Pair, part: int, match: re.Match[str], new: str) -> Pair:
    text = pair[part][: match.start()] + new + pair[part][match.end() :]
    return (text, pair[1]) if part == 0 else (pair[0], text)


EDITS: dict[str, Callable[[Pair, random.Random], Pair | None]] = {
    "formatting": _formatting,
    "typos": _typos,
    "preamble": _preamble,
    "dropped sentence": _dropped_sentence,
    "number": _number,
    "unit": _replaced(UNITS),
    "negation": _replaced(NEGATED),
    "antonym": _replaced(ANTONYMS),
    "entity": _entity,
}
