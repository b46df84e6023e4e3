"""Marks requests that ask for something harmful: a tag that routes and counts rows, never a reason to drop one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl

CATEGORIES = {
    "self-harm": r"suicide|kill myself|self[- ]harm|starve myself",
    "violence": r"kill(?:ing)?|murder|massacre|assault|torture|strangle|poison(?:ing)?|shooting",
    "weapons": r"bomb|explosives?|grenade|firearm|ghost gun|silencer|nerve agent|bioweapon",
    "drugs": r"meth(?:amphetamine)?|heroin|cocaine|fentanyl|drug dealer",
    "crime": r"steal(?:ing)?|rob(?:bing)?|burglary|shoplift(?:ing)?|launder(?:ing)?|counterfeit|blackmail"
    r"|extort(?:ion)?|kidnap|smuggl(?:e|ing)|fraud|scam|bribe|forge",
    "intrusion": r"hack(?:ing)?|phishing|malware|ransomware|keylogger|ddos|spyware|dox(?:x?ing)?|stalk(?:ing)?",
    "hate": r"white supremac\w*|racial slur|ethnic cleansing|genocide|inferior race",
    "sexual": r"child porn\w*|rape|revenge porn|underage",
}
"""English words; where two overlap ("kill myself", "kill") the longer one's category stands first."""


@rule(unit="categories", version=1)
def request(text: pl.Expr) -> pl.Expr:
    """Harm categories of which a word occurs, 0 to 8; English words only, so 0 proves nothing."""
    import polars as pl

    # one pass over the text finds the words; the categories are then told from the few words found
    found = text.str.to_lowercase().str.extract_all(_whole("|".join(CATEGORIES.values()))).list.join("\n")
    return pl.sum_horizontal(found.str.contains(_whole(words)).cast(pl.Int64) for words in CATEGORIES.values())


def _whole(words: str) -> str:
    """Only whole words; ASCII boundaries, because Unicode's leave the fast path of the regex engine."""
    return rf"(?-u:\b)(?:{words})(?-u:\b)"
