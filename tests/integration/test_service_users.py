"""Users, roles and grants, for a task that asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymilvus.exceptions import MilvusException

from tests.support.accounts import ROOT, access_of, as_root, forget
from tests.support.books import Books, wait_keys
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymilvus import MilvusClient

    from tests.support.scenario import Scenario

milvus_only = pytest.mark.parametrize("target", ["milvus"], indirect=True)


@pytest.fixture
def roots(scenario: Scenario) -> Iterator[tuple[MilvusClient, MilvusClient]]:
    """Yield a client each of a source and a target without users."""
    clients = as_root(scenario.source), as_root(scenario.target)
    for client in clients:
        forget(client)
    yield clients
    # The target first: a service that still runs drops there what is dropped at the source.
    for client in reversed(clients):
        forget(client)
        client.close()


def create_task(scenario: Scenario, **data: Any) -> None:
    """Create a task that may grant at the target."""
    scenario.task = scenario.cdc.ask(
        "create",
        milvus_connect_param={"uri": scenario.target.uri, "token": ROOT},
        db_collections={"*": [{"name": "*"}]},
        **data,
    )["task_id"]


def refused_by(scenario: Scenario) -> dict[str, Any]:
    """Return what was not done: how many operations, and the newest."""
    refused: dict[str, Any] = scenario.cdc.get(scenario.task)["operations_refused"]
    return refused


def wait_same(source: MilvusClient, target: MilvusClient) -> None:
    """Wait until both sides let the same users do the same."""

    def same() -> bool:
        try:
            return access_of(source) == access_of(target)
        except MilvusException:
            # A role was dropped between being listed and being described.
            return False

    wait_until(same, "the same users and roles")


@milvus_only
def test_users_roles_and_grants(
    scenario: Scenario, roots: tuple[MilvusClient, MilvusClient]
) -> None:
    """They come, change and go at the target; a user's password has to be set there."""
    source, target = roots
    source.create_user("early", "Secret123")
    create_task(scenario, extra_info={"enable_user_role": True})
    books = Books(scenario.client).create()
    wait_same(source, target)
    with scenario.meanwhile():
        books.insert(range(5))
        source.create_user("ann", "Secret123")
        source.create_user("bob", "Secret123")
        source.create_role("reader")
        source.create_role("nobody")
        source.grant_role("ann", "reader")
        source.grant_role("bob", "nobody")
        source.grant_privilege("reader", "Collection", "Search", "books")
        source.grant_privilege("reader", "Collection", "Insert", "*", db_name="*")
        source.grant_privilege("reader", "Global", "CreateCollection", "*")
    wait_same(source, target)
    wait_until(lambda: refused_by(scenario)["count"] == 3, "all passwords are told of")
    with scenario.meanwhile():
        source.revoke_privilege("reader", "Collection", "Search", "books")
        source.revoke_role("ann", "reader")
        source.drop_role("nobody")
        source.drop_user("bob")
        source.update_password("ann", "Secret123", "Another123")
    wait_same(source, target)
    wait_keys(scenario.other, range(5))
    wait_until(lambda: refused_by(scenario)["count"] == 4, "each password is told of")
    refused = refused_by(scenario)
    assert {(r["kind"], r["name"]) for r in refused["newest"]} == {
        ("UpdateCredential", "early"),
        ("UpdateCredential", "ann"),
        ("UpdateCredential", "bob"),
    }
    assert "set it at the target" in refused["newest"][-1]["reason"]
    scenario.restart()
    wait_same(source, target)
    assert refused_by(scenario)["count"] == 4


@milvus_only
@pytest.mark.parametrize("scenario", ["up"], indirect=True)
def test_who_was_there_before_stays(
    scenario: Scenario, roots: tuple[MilvusClient, MilvusClient]
) -> None:
    """A user who is there keeps the password; one the source never had is left alone."""
    source, target = roots
    target.create_user("ann", "Targets123")
    target.create_user("local", "Targets123")
    source.create_user("ann", "Sources123")
    create_task(scenario, extra_info={"enable_user_role": True})
    source.create_user("late", "Sources123")
    wait_until(lambda: "late" in target.list_users(), "the newest user is there")
    assert set(target.list_users()) == {"root", "ann", "local", "late"}
    target.update_password("ann", "Targets123", "Other123")


@milvus_only
@pytest.mark.parametrize("scenario", ["up"], indirect=True)
def test_without_being_asked(
    scenario: Scenario, roots: tuple[MilvusClient, MilvusClient]
) -> None:
    """A task that does not ask for users leaves them alone."""
    source, target = roots
    source.create_user("ann", "Secret123")
    create_task(scenario)
    source.create_user("bob", "Secret123")
    Books(scenario.client).create().insert(range(3))
    wait_keys(scenario.other, range(3))
    assert target.list_users() == ["root"]


@pytest.mark.parametrize("target", ["lite"], indirect=True)
def test_target_without_users(scenario: Scenario) -> None:
    """Milvus Lite has none: the task says so, and the rows go on."""
    create_task(scenario, extra_info={"enable_user_role": True})
    books = Books(scenario.client).create()
    root = as_root(scenario.source)
    with scenario.meanwhile():
        root.create_user("ann", "Secret123")
        books.insert(range(3))
    wait_keys(scenario.other, range(3))
    root.drop_user("ann")
    root.close()
    assert "Milvus Lite has no users" in refused_by(scenario)["newest"][-1]["reason"]
