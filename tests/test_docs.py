"""The documentation is true: its commands run, its links lead somewhere, every stage, rule, key and target is in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from annotators import principles, template
from curate.evaluation.metrics import CopyMeasures
from curate.gates.registry import all_gates
from curate.pipeline import STAGES
from curate.rules.registry import all_rules
from curate.training.templates import TEMPLATES
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page.name: page.read_text(encoding="utf-8") for page in PAGES}


def commands() -> list[tuple[str, str]]:
    """Every `curate …` line of a shell block, but those that say what else they need."""
    found = []
    for name, text in TEXT.items():
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            found += [
                (name, line) for line in block.splitlines() if line.startswith("curate ") and "# needs" not in line
            ]
    return found


@pytest.mark.parametrize(("page", "command"), commands())
def test_every_command_runs(checkout, page, command):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, check=False, cwd=checkout, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{page}: {command}\n{done.stdout}{done.stderr}"
    assert done.stdout.strip()


def test_there_are_commands_to_run():
    assert len(commands()) > 20


@pytest.mark.parametrize("name", TEXT)
def test_every_link_leads_somewhere(name):
    folder = ROOT if name in {"README.md", "CONTRIBUTING.md"} else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT[name]):
        if not target.startswith("http"):
            assert (folder / target).exists(), target


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_page(stage):
    assert f"curate run --stage {stage}" in TEXT[f"{stage}.md"]
    assert f"docs/{stage}.md" in TEXT["README.md"]


def test_every_rule_template_principle_and_measure_is_described():
    for rule in all_rules():
        assert f"`{rule}`" in TEXT["filter.md"], rule
    for name in TEMPLATES:
        assert f"`{name}`" in TEXT["train.md"]
    for name in (*principles.own_names(), *template.own_names()):
        assert f"`{name}`" in TEXT["annotate.md"]
    for name in CopyMeasures.__slots__:
        assert name == "rows" or f"`{name}`" in TEXT["evaluate.md"]


def test_the_prompts_are_those_that_are_sent():
    from curate.stages.annotate.shown import prompts

    assert prompts() in TEXT["annotate.md"], "run: python -m curate.stages.annotate.shown"


def test_every_gate_is_described_with_its_unit_and_its_bounds():
    for name, gate in all_gates().items():
        row = next(line for line in TEXT["gates.md"].splitlines() if line.startswith(f"| `{name}` | {gate.unit} |"))
        ends = [f"{bound:g}" for bound in (gate.lowest, gate.highest) if bound is not None]
        shown = " to ".join(ends) if len(ends) == 2 else f"at {'most' if gate.lowest is None else 'least'} {ends[0]}"
        assert f"| {shown} |" in row


def test_every_make_target_in_the_documentation_is_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {
        target for text in TEXT.values() for target in re.findall(r"(?:`|^\s{4})make ([a-z-]+)", text, re.MULTILINE)
    }
    assert {"demo", "test", "check"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_layers_are_those_that_are_checked():
    import tomllib

    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][1]
    names = [name.strip() for layer in contract["layers"] for name in layer.split("|")]
    for name in names:
        assert name == "__main__" or f"`{name}" in TEXT["architecture.md"], name
