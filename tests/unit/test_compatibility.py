"""The README says no more of what can be a source and a target than tests show."""

from __future__ import annotations

from pathlib import Path

from tests.support.compatibility import claims, table

README = Path(__file__).parents[2] / "README.md"


def test_the_table_has_what_tests_show() -> None:
    """No row more, and none less."""
    text = README.read_text(encoding="utf-8")
    _, _, found = text.partition("<!-- tests/support/compatibility.py -->\n")
    assert found.partition("\n\n")[0] == table()


def test_no_test_says_more_than_it_can_show() -> None:
    """A real server is where tests have some, a recording is in the repository."""
    found = claims()
    assert found
    assert [each.doubt for each in found if each.doubt] == []
