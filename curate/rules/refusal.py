"""How models begin when they decline: one pattern, for raw replies and for corrections. No rule on prompts."""

import re

I_AM = r"i(?:['’]m|\sam)\s"
SORRY = (
    rf"(?:{I_AM}(?:very\s|so\s|truly\s|really\s)?sorry|sorry|(?:my\s)?apologies|i\sapologi[sz]e|unfortunately)\b"
    r"[^.!?\n]{0,40}?[,.;:–—-]?\s{0,2}(?:but,?\s|however,?\s)?"
)
AS_A_MODEL = (
    rf"(?:(?:as\san?\s|{I_AM}(?:just\s)?an?\s)(?:(?:text|large|responsible|ethical)\s)?"
    r"(?:ai|artificial|language|large|responsible|ethical)\b[^.,\n]{0,60}?(?:[,.]\s{0,2}|\s)(?:and\s|so\s)?)"
)
CANNOT = (
    r"i\s(?:can(?:no|['’])?t|can\snot|won['’]t|will\snot|should\snot|shouldn['’]t)\s"
    r"(?:be\sable\sto\s|in\sgood\sconscience\s|ethically\s|really\s|possibly\s)?"
)
SERVE = (
    r"(?:help(?!\s(?:but|it|myself|\w+ing|the\sway)\b)|assist|provide|comply|fulfill?|engage|participate|answer|create"
    r"|write|generate|give(?!\s(?:up|in)\b)|offer|discuss|encourage|condone|promote|share|do\sthat|satisfy|recommend"
    r"|suggest|advise|continue|support|rewrite|reproduce|turn|browse|access|predict|determine|complete|produce"
    r"|make\s(?:light|fun|jokes)|feel\scomfortable)\b(?![^.!?\n]{0,80}\benough\b)"
)
DECLINE = (
    rf"(?:{I_AM}(?:not\sable|unable|not\sallowed|not\spermitted|not\sprogrammed|not\scomfortable|not\sgoing)\b"
    r"|i\s(?:(?:have\sto|must|need\sto)\s(?:respectfully\s|politely\s)?(?:refuse|decline)|refuse\sto|decline\sto)\b"
    r"|i\s(?:do\snot|don['’]t)\s(?:feel\scomfortable|provide|assist|participate|condone)\b"
    r"|it(?:['’]s|\sis|\swould\sbe)\s(?:not\s(?:ethical|appropriate)|inappropriate|unethical|illegal)(?:\sor\s\w+)?"
    r"\sfor\sme\sto\b)"
)
LACK = (
    r"(?:(?:i\s)?(?:do\snot|don['’]t)\shave\s(?:(?:real[-\s]time\s|direct\s)?access|the\s(?:ability|capability))\b"
    r"|it(?:['’]s|\sis|\swould\sbe)\s(?:not\s(?:ethical|appropriate)|inappropriate|unethical)(?:\sor\s\w+)?\sto\b)"
)
AFTER_KIND_WORDS = (
    r"[^\n]{0,300}?\b(?:i\smust\sinform\syou\sthat\s|(?:assistant|model),\s|however,\s|i['’]m\safraid\s"
    r"|i\sapologi[sz]e,\sbut\s)"
)
REFUSAL = re.compile(
    rf"(?i)^[\s\"'*]*+(?:(?:oh|well|hello|hi|no)\b[,.!]?\s)?"
    rf"(?:(?:{SORRY})?{AS_A_MODEL}?(?:{CANNOT}{SERVE}|{DECLINE})|{SORRY}{AS_A_MODEL}?{LACK}"
    rf"|{AFTER_KIND_WORDS}{CANNOT}{SERVE})"
)
"""How models begin when they decline: an apology or not, what they are or not, then that they cannot, will not or
should not serve; after an apology also that they lack the means. Some are glad to help first ("However, I must inform
you that I cannot provide …"): that is looked for in the first 300 characters, before a line ends. English.

Every part is bounded or gives nothing back: the time grows with the white space at the start alone.
Measured on the answers of the recorded data: docs/generate.md says how many it finds and how many of those are wrong.
"""
