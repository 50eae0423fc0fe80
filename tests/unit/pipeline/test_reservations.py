"""Names at the targets: held by one task at a time."""

from __future__ import annotations

from cdc_actors.pipeline.reservations import NameReservations

NAME = ("default", "books")


def test_a_name_is_one_tasks() -> None:
    """What one task holds another one is refused, with the holder's id."""
    names = NameReservations()
    one, other = names.of("1", "host:1"), names.of("2", "host:1")
    assert one.take(NAME) is None
    assert one.take(NAME) is None
    assert other.take(NAME) == "1"
    other.free(NAME)
    assert other.take(NAME) == "1"
    one.free(NAME)
    assert other.take(NAME) is None


def test_names_of_other_targets_are_others() -> None:
    """Each target has names of its own."""
    names = NameReservations()
    assert names.of("1", "host:1").take(NAME) is None
    assert names.of("2", "host:2").take(NAME) is None


def test_a_deleted_task_holds_nothing() -> None:
    """All its names are free, and no other task's."""
    names = NameReservations()
    one, other = names.of("1", "host:1"), names.of("2", "host:1")
    one.take(NAME)
    other.take(("default", "other"))
    names.free_all("1")
    assert other.take(NAME) is None
    assert one.take(("default", "other")) == "2"
