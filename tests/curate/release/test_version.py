"""Which version a change asks for."""

import pytest

from curate.release.version import Diff, next_version, parse
from schemas.errors import ReleaseError


@pytest.mark.parametrize(
    ("diff", "version"),
    [
        (Diff(0, 0, 1, False), "1.2.4"),
        (Diff(0, 5, 0, False), "1.2.4"),
        (Diff(1, 5, 9, False), "1.3.0"),
        (Diff(1, 0, 0, True), "2.0.0"),
    ],
)
def test_a_change_asks_for_the_smallest_number_that_tells_it(diff, version):
    assert next_version("1.2.3", diff) == version


def test_the_first_release_is_one():
    assert next_version(None, Diff(9, 0, 0, False)) == "1.0.0"


def test_versions_sort_as_numbers():
    assert sorted(["1.10.0", "1.9.0", "1.9.12"], key=parse) == ["1.9.0", "1.9.12", "1.10.0"]


@pytest.mark.parametrize("text", ["1.0", "v1.0.0", "1.0.x", "", "1.-1.0"])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(ReleaseError, match="is not a version"):
        parse(text)
