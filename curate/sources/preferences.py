"""How a raw row holds a rejected and a chosen answer: the first is an answer, the second its correction. Pure.

Columns as they are published: PKU-Alignment/PKU-SafeRLHF (arXiv 2406.15513), openbmb/UltraFeedback (arXiv 2310.01377),
HuggingFaceH4/ultrafeedback_binarized, Anthropic/hh-rlhf (arXiv 2204.05862), and the preference format of TRL.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from curate.sources.dialogues import (
    RawPrompt,
    column,
    kind,
    marked_turns,
    prompt_of,
    turns_of,
    until_last_user,
    whole_text,
)
from curate.sources.readers import Broken
from schemas.records import Turn

TIED = "import.preference_tied"
DISAGREES = "import.preference_disagrees"
UNSAFE = "import.preference_unsafe"
UNCLEAR = "import.preference_unclear"
PAIR = ("chosen", "rejected")


@dataclass(frozen=True, slots=True)
class RawPreference:
    """A rejected answer and the chosen one, its correction; upstream_model wrote the former, where the row says so."""

    answer: str
    correction: str
    upstream_model: str | None = None


@dataclass(frozen=True, slots=True)
class NoPreference:
    """Why a whole row gives its prompt only: the rule's name, and what was found."""

    rule: str
    note: str


Outcome = RawPreference | NoPreference | Broken


@dataclass(frozen=True, slots=True)
class Compared:
    """A prompt, and what came of its two answers; Broken where the prompt is good and the answers are not."""

    prompt: RawPrompt
    outcome: Outcome


def compared(row: Any, shape: str) -> Compared | Broken:
    """The prompt and the preference of a row of a shape that holds preferences; Broken where there is no prompt."""
    known = {
        "hh-rlhf": _hh_rlhf,
        "pku-saferlhf": _pku_saferlhf,
        "ultrafeedback": _ultrafeedback,
        "preference": _trainer,
    }
    return known[shape](row)


def _hh_rlhf(row: Any) -> Compared | Broken:
    """Two dialogues that are the same up to the last human turn."""
    chosen, rejected = (whole_text(column(row, name), name) for name in PAIR)
    return chosen if isinstance(chosen, Broken) else _two_marked(chosen, rejected)


def _two_marked(chosen: str, rejected: str | Broken) -> Compared | Broken:
    return _two_dialogues(marked_turns(chosen), rejected if isinstance(rejected, Broken) else marked_turns(rejected))


def _pku_saferlhf(row: Any) -> Compared | Broken:
    """The response that is both better and safer corrects the other one, if it is safe itself."""
    prompt = prompt_of(column(row, "prompt"))
    return prompt if isinstance(prompt, Broken) else Compared(prompt, _both_labels(row))


def _both_labels(row: Any) -> Outcome:
    better = _place(column(row, "better_response_id"), "better_response_id")
    if isinstance(better, Broken):
        return better
    safer = _place(column(row, "safer_response_id"), "safer_response_id")
    if isinstance(safer, Broken):
        return safer
    is_safe = _truth(column(row, f"is_response_{better}_safe"), f"is_response_{better}_safe")
    chosen, rejected = (column(row, f"response_{place}") for place in (better, 1 - better))
    outcome = _preference(rejected, chosen, row.get(f"response_{1 - better}_source"))
    if isinstance(is_safe, Broken):
        return is_safe
    if isinstance(outcome, Broken):
        return outcome
    if better != safer:
        return NoPreference(DISAGREES, f"response {better} is better, but response {safer} is safer")
    if not is_safe:
        return NoPreference(UNSAFE, f"response {better} is the better and the safer one, and is not safe")
    return outcome


def _ultrafeedback(row: Any) -> Compared | Broken:
    """Either published form: several completions with their scores, or two dialogues with or without scores."""
    if isinstance(row, dict) and "completions" not in row:
        found = _trainer(row) if "chosen" in row else column(row, "completions")
        if isinstance(found, Broken) or not isinstance(found.outcome, RawPreference):
            return found
        return Compared(found.prompt, _two_scores(row, found.outcome))
    prompt = prompt_of(column(row, "instruction"))
    return prompt if isinstance(prompt, Broken) else Compared(prompt, _best_and_worst(row["completions"]))


def _two_scores(row: Any, preference: RawPreference) -> Outcome:
    names = [f"score_{name}" for name in PAIR]
    scores = _scores([(row[name], name) for name in names if row.get(name) is not None])
    if isinstance(scores, Broken):
        return scores
    if len(scores) < len(PAIR) or scores[0] > scores[1]:
        return preference
    if scores[0] == scores[1]:
        return NoPreference(TIED, f"both answers have the score {scores[0]:g}")
    return NoPreference(DISAGREES, f"the chosen answer has the score {scores[0]:g}, the rejected one {scores[1]:g}")


def _best_and_worst(completions: Any) -> Outcome:
    """The completion with the highest overall score corrects the one with the lowest; of equal ones the first."""
    if not isinstance(completions, list):
        return Broken("wrong_shape", f"completions is {kind(completions)}, not a list")
    texts = [whole_text(column(one, "response"), f"response {n}") for n, one in enumerate(completions, start=1)]
    if broken := next((text for text in texts if isinstance(text, Broken)), None):
        return broken
    scores = _scores(
        [(column(one, "overall_score"), f"overall_score {n}") for n, one in enumerate(completions, start=1)]
    )
    if isinstance(scores, Broken):
        return scores
    if len(scores) < len(PAIR):
        return NoPreference(UNCLEAR, f"the row has {len(scores)} completions, so none is better than another")
    if min(scores) == max(scores):
        return NoPreference(TIED, f"all completions have the score {scores[0]:g}")
    best, worst = (scores.index(score) for score in (max(scores), min(scores)))
    return _preference(texts[worst], texts[best], completions[worst].get("model"))


def _trainer(row: Any) -> Compared | Broken:
    """`chosen` and `rejected`, as texts or lists of messages, with the prompt in a column of its own or in both.

    Messages that hold a turn of the user are the whole dialogue, as trainers take them, whatever `prompt` says.
    """
    chosen, rejected = (column(row, name) for name in PAIR)
    if isinstance(row, dict) and "prompt" not in row:
        return _implicit(chosen, rejected)
    before = _turns_of_prompt(column(row, "prompt"))
    if isinstance(before, Broken):
        return before
    first = _whole_dialogue(before, chosen, "chosen")
    if isinstance(first, Broken):
        prompt = until_last_user(before)
        return prompt if isinstance(prompt, Broken) else Compared(prompt, first)
    return _two_dialogues(first, _whole_dialogue(before, rejected, "rejected"))


def _turns_of_prompt(prompt: Any) -> list[Turn] | Broken:
    if isinstance(prompt, list):
        return turns_of(prompt, "role", "content")
    found = prompt_of(prompt)
    if isinstance(found, Broken):
        return found
    if found.text.startswith("Human:") and found.text.endswith("\n\nAssistant:"):
        return marked_turns(found.text)[:-1]
    return [Turn("user", found.text)]


def _whole_dialogue(before: list[Turn], answer: Any, name: str) -> list[Turn] | Broken:
    if isinstance(answer, list):
        turns = turns_of(answer, "role", "content")
        is_whole = not isinstance(turns, Broken) and any(turn.role == "user" for turn in turns)
        return turns if isinstance(turns, Broken) or is_whole else [*before, *turns]
    text = whole_text(answer, name)
    return text if isinstance(text, Broken) else [*before, Turn("assistant", text)]


def _implicit(chosen: Any, rejected: Any) -> Compared | Broken:
    """Without a column of its own, the common beginning is the prompt: turns of dialogues, words of other texts."""
    if isinstance(chosen, list):
        first = turns_of(chosen, "role", "content")
        return first if isinstance(first, Broken) else _two_dialogues(first, turns_of(rejected, "role", "content"))
    first_text, second_text = whole_text(chosen, "chosen"), whole_text(rejected, "rejected")
    if isinstance(first_text, Broken):
        return first_text
    if first_text.startswith("Human:"):
        return _two_marked(first_text, second_text)
    return second_text if isinstance(second_text, Broken) else _two_continuations(first_text, second_text)


def _two_continuations(chosen: str, rejected: str) -> Compared | Broken:
    size = _common_words(chosen, rejected)
    if not size or chosen == rejected:
        how = "are the same text" if size else "begin with different words"
        return Broken("no_prompt", f"there is no field prompt, and chosen and rejected {how}")
    prompt = prompt_of(chosen[:size])
    return prompt if isinstance(prompt, Broken) else Compared(prompt, _preference(rejected[size:], chosen[size:]))


def _common_words(first: str, second: str) -> int:
    """Characters at the beginning that both texts share, up to the end of a word."""
    size = next((n for n, (one, other) in enumerate(zip(first, second, strict=False)) if one != other), None)
    size = min(len(first), len(second)) if size is None else size
    ends = [text[size : size + 1] for text in (first, second)]
    if all(not end or end.isspace() for end in ends):
        return size
    return max((found.end() for found in re.finditer(r"\s+", first[:size])), default=0)


def _two_dialogues(chosen: list[Turn], rejected: list[Turn] | Broken) -> Compared | Broken:
    """Two dialogues that should be the same up to the last turn of the user, and then one answer each."""
    prompt = until_last_user(chosen)
    if isinstance(prompt, Broken):
        return prompt
    if isinstance(rejected, Broken):
        return Compared(prompt, rejected)
    shared = len(prompt.turns) + 1
    differing = next((n for n in range(shared) if rejected[n : n + 1] != chosen[n : n + 1]), None)
    if differing is not None:
        note = f"the dialogues differ in turn {differing + 1}, before the last answer"
        return Compared(prompt, NoPreference(UNCLEAR, note))
    after = [dialogue[shared:] for dialogue in (rejected, chosen)]
    if any([turn.role for turn in turns] != ["assistant"] for turns in after):
        counts = " and ".join(str(len(turns)) for turns in after)
        note = f"rejected and chosen have {counts} turns after the prompt, not one answer each"
        return Compared(prompt, NoPreference(UNCLEAR, note))
    return Compared(prompt, _preference(after[0][0].text, after[1][0].text))


def _preference(rejected: Any, chosen: Any, upstream_model: Any = None) -> Outcome:
    answer, correction = whole_text(rejected, "the rejected answer"), whole_text(chosen, "the chosen answer")
    if isinstance(answer, Broken):
        return answer
    if isinstance(correction, Broken):
        return correction
    if not answer or not correction:
        return NoPreference(UNCLEAR, f"the {'chosen' if answer else 'rejected'} answer has no characters")
    if answer == correction:
        return NoPreference(TIED, "both answers are the same text")
    named = whole_text(upstream_model, "the model")
    return RawPreference(answer, correction, None if isinstance(named, Broken) else named or None)


def _place(value: Any, name: str) -> int | Broken:
    """0 or 1, also as the text that a CSV file makes of it."""
    if isinstance(value, Broken):
        return value
    is_place = not isinstance(value, bool) and str(value) in {"0", "1"}
    return int(value) if is_place else Broken("wrong_type", f"{name} is {_told(value)}, not 0 or 1")


def _truth(value: Any, name: str) -> bool | Broken:
    """True or false, also as the text that a CSV file makes of it."""
    if isinstance(value, bool | Broken):
        return value
    known = {"true": True, "false": False}.get(str(value).lower()) if isinstance(value, str) else None
    return Broken("wrong_type", f"{name} is {_told(value)}, not true or false") if known is None else known


def _scores(named: list[tuple[Any, str]]) -> list[float] | Broken:
    """Finite numbers, also where they are texts: the scripts that made UltraFeedback write both."""
    scores = []
    for value, name in named:
        if isinstance(value, Broken):
            return value
        try:
            number = math.nan if isinstance(value, bool) or not isinstance(value, int | float | str) else float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            return Broken("wrong_type", f"{name} is {_told(value)}, not a number")
        scores.append(number)
    return scores


def _told(value: Any) -> str:
    return f"{value!r:.60}" if isinstance(value, bool | int | float | str) else kind(value)
