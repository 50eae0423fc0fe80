"""Names at the targets: held by one task at a time."""

from __future__ import annotations

from cdc_actors.pipeline.reservations import NameReservations

NAME = ("default", "books")


def test_a_name_is_one_tasks() -> None:
    """What one task holds another one is refused, with the holder's id."""
    names = NameReservations()
    one, other = names.of("1", "host:1"), names.of("2", "host:1")
    assert one.reserve(NAME) is None
    assert one.reserve(NAME) is None
    assert other.reserve(NAME) == "1"
    other.release(NAME)
    assert other.reserve(NAME) == "1"
    one.release(NAME)
    assert other.reserve(NAME) is None


def test_names_of_other_targets_are_others() -> None:
    """Each target has names of its own."""
    names = NameReservations()
    assert names.of("1", "host:1").reserve(NAME) is None
    assert names.of("2", "host:2").reserve(NAME) is None


def test_a_deleted_task_holds_nothing() -> None:
    """All its names are free, and no other task's."""
    names = NameReservations()
    one, other = names.of("1", "host:1"), names.of("2", "host:1")
    one.reserve(NAME)
    other.reserve(("default", "other"))
    names.release_all("1")
    assert other.reserve(NAME) is None
    assert one.reserve(("default", "other")) == "2"
