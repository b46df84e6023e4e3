"""A small pipeline on recorded data: every stage runs in seconds, every kind of row loss occurs."""

import json
from pathlib import Path

CONFIG = """
[pipelines.small]
seed = 3

[[pipelines.small.sources]]
path = "prompts.jsonl"
field = "instruction"
license = "MIT"

[[pipelines.small.generate.models]]
name = "one"
provider = "recorded"
path = "answers.jsonl"

[[pipelines.small.generate.models]]
name = "two"
provider = "recorded"
path = "answers.jsonl"

[pipelines.small.generate]
answers_per_prompt = 2

[[pipelines.small.annotate.annotators]]
name = "recorded"
kind = "recorded"
path = "corrections.jsonl"

[pipelines.small.release]
validation_share = 0.2
test_share = 0.3

[pipelines.small.train]
preset = "tiny"
epochs = 1
max_tokens = 256
samples = 2

[pipelines.small.evaluate]
max_rows = 3
max_new_tokens = 8
"""

PLACES = [
    *("tower", "bridge", "lighthouse", "cathedral", "windmill", "castle", "aqueduct", "pagoda", "obelisk", "dam"),
    *("stadium", "monument", "library", "theatre", "harbour", "station", "market", "garden", "fountain", "temple"),
    *("palace", "museum", "chapel", "barn"),
]


def write_small_pipeline(folder: Path) -> Path:
    """Write prompts, answers, corrections and `pipelines.toml` into `folder`; the path of the latter."""
    questions = [f"How tall is the old {place} at the end of the {place} road?" for place in PLACES]
    prompts = [json.dumps({"instruction": question}) for question in questions]
    prompts += [prompts[0], json.dumps({"instruction": "hm"}), '{"instruction": "cut o', json.dumps({"other": 1})]
    answers, corrections = [], []
    for number, question in enumerate(questions):
        feet = f"It is {100 + number} feet tall."
        for model, answer in (
            ("one", feet),
            ("two", feet if number % 3 else f"The tower has {number + 20} steps, I guess."),
        ):
            if number == 5 and model == "two":
                continue
            answers.append({"prompt": question, "model": model, "answer": answer})
            better = answer if number % 4 == 0 else f"{answer} That is {30 + number} metres."
            if number != 7:
                corrections.append({"question": question, "answer": answer, "correction": better})
    (folder / "prompts.jsonl").write_text("\n".join(prompts) + "\n", encoding="utf-8")
    for name, rows in (("answers", answers), ("corrections", corrections)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = folder / "pipelines.toml"
    config.write_text(CONFIG, encoding="utf-8")
    return config
