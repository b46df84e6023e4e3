"""Gates are found by name, have bounds that copies pass, and load nothing heavy before they score."""

import subprocess
import sys

import pytest

from curate.config.table import Bounds
from curate.gates.bounds import check_bounds, default_bounds
from curate.gates.registry import all_gates, find_gates
from schemas.errors import ConfigError
from tests.test_imports import HEAVY

NAMES = [
    "edit.kept", "edit.share", "ending.cut", "injection.obeyed", "language.changed", "leak.instructions", "leak.marks",
    "personal.introduced", "refusal.needless", "remark.editing", "size.characters", "size.ratio",
]  # fmt: skip


def test_every_gate_has_a_name_a_meaning_and_bounds():
    assert list(all_gates()) == NAMES
    for gate in all_gates().values():
        assert gate.meaning.endswith("."), gate.meaning
        assert gate.version >= 1
        assert (gate.lowest, gate.highest) != (None, None)


def test_gates_are_found_in_the_order_of_their_names():
    assert list(find_gates(["size.ratio", "edit.share"])) == ["size.ratio", "edit.share"]


def test_an_unknown_gate_names_the_nearest():
    with pytest.raises(ConfigError, match=r'unknown gate "edit.shares"; did you mean "edit.share"\?'):
        find_gates(["edit.shares"])


def test_default_bounds_are_those_of_the_gates_and_let_copies_pass():
    bounds = default_bounds()
    assert bounds["size.ratio"] == Bounds(min=0.1, max=15)
    assert bounds["leak.marks"] == Bounds(max=0)
    check_bounds(bounds)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [("edit.share", Bounds(min=0.01)), ("edit.kept", Bounds(max=0.9)), ("size.ratio", Bounds(min=2))],
)
def test_bounds_that_would_drop_copies_are_refused(name, bounds):
    with pytest.raises(ConfigError, match=rf'the gate "{name}" would drop every correction that equals its answer'):
        check_bounds({name: bounds})


def test_naming_gates_loads_no_heavy_library():
    code = (
        "import sys; from curate.gates.registry import all_gates; all_gates(); import curate.gates.scoring\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & HEAVY
