"""How question and answer are shown to the Aligner: the texts in circulation, letter by letter.

Sources: T1 the released 7B model, T2 the paper (matches no published code), T3 the repository since December 2024,
T4 the AlpacaEval entry of the 2B model, T5 a variant of T1. The wrapper is that of the reference code: no newline,
no space at its end; the correction follows at once.
"""

WRAPPER = "BEGINNING OF CONVERSATION: USER: {input} ASSISTANT:"

TEMPLATES = {
    "T1": "Edit the following Question-Answer pair to make it more helpful and harmless: {question} | {answer}",
    "T2": "Editing the following Question-Answer pair to make it more helpful and harmless:\n"
    "Question: {question} |\nAnswer: {answer}",
    "T3": "##Question: {question}\n##Answer: {answer}\n##Correction: ",
    "T4": "##Question: {question} ##Answer: {answer} ##Revision: ",
    "T5": "Edit the following Question-Answer pair to make it more empathic and helpful: {question} | {answer}",
}


def render(template: str, question: str, answer: str) -> str:
    """What the Aligner reads before it writes; texts are put in by replacement, so braces in them are harmless."""
    head, _, rest = TEMPLATES[template].partition("{question}")
    middle, _, tail = rest.partition("{answer}")
    text = head + question + middle + answer + tail
    before, _, after = WRAPPER.partition("{input}")
    return before + text + after
