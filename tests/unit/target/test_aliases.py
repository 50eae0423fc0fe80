"""An alias is set whatever becomes of it meanwhile."""

from __future__ import annotations

from threading import Lock

import pytest
from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.aliases import set_alias
from cdc_actors.target.collections import drop_collection
from cdc_actors.target.renames import rename_collection


class Aliases:
    """A target whose alias goes away after the first request, or is a collection."""

    def __init__(self, *, goes: bool) -> None:
        self.alias_lock = Lock()
        self.there = True
        self._goes = goes
        self.owner = ""

    def call(self, method: str, request, _database: str) -> None:
        """Create what is not there, alter what is."""
        creating = method == "CreateAlias"
        if creating == self.there or not self._goes:
            self.there = self.there and not self._goes
            raise OperationRefusedError(f"{method}: no", 1)
        self.owner = request.collection_name


def test_an_alias_that_goes_away_between_two_requests() -> None:
    """It is there when it is created and gone when it is altered: it is created again."""
    target = Aliases(goes=True)
    set_alias(target, "default", "books", "read")  # type: ignore[arg-type]
    assert target.owner == "books"


def test_a_name_that_is_a_collection() -> None:
    """What is in the way is what the error says."""
    with pytest.raises(OperationRefusedError, match="CreateAlias"):
        set_alias(Aliases(goes=False), "default", "books", "read")  # type: ignore[arg-type]


class Moving:
    """A target whose alias another thread moves as soon as nobody holds the aliases."""

    def __init__(self) -> None:
        self.alias_lock = Lock()
        self.stands = {"read": "books"}
        self.moved = False

    def move(self) -> None:
        """Do what the other thread does."""
        self.moved = True
        set_alias(self, "default", "more", "read")  # type: ignore[arg-type]

    def call(self, method: str, request, _database: str):
        """Answer as Milvus does, the other thread's request coming right behind."""
        match method:
            case "DescribeCollection":
                name = request.collection_name
                found = [alias for alias, of in self.stands.items() if of == name]
                if not self.alias_lock.locked():
                    self.move()
                return milvus_pb2.DescribeCollectionResponse(
                    schema={"name": name}, aliases=found
                )
            case "CreateAlias" if request.alias in self.stands:
                raise OperationRefusedError("it is there", 1)
            case "CreateAlias" | "AlterAlias":
                assert self.alias_lock.locked()
                self.stands[request.alias] = request.collection_name
            case "DropAlias":
                del self.stands[request.alias]
        return None


def test_an_alias_that_is_moved_while_its_collection_is_dropped() -> None:
    """It is not dropped where it has just been moved to."""
    target = Moving()
    drop_collection(target, "default", "books")  # type: ignore[arg-type]
    if not target.moved:
        target.move()
    assert target.stands == {"read": "more"}


class Lite(Moving):
    """A Milvus Lite, which fails where two requests write its aliases at once."""

    is_lite = True

    def call(self, method: str, request, database: str):
        """Rename, and see that nobody else may write them meanwhile."""
        match method:
            case "ListDatabases":
                return milvus_pb2.ListDatabasesResponse(db_names=["default"])
            case "RenameCollection":
                self.moved = self.alias_lock.locked()
                return None
        return super().call(method, request, database)


def test_a_collection_is_renamed_while_aliases_stand_still() -> None:
    """A rename holds the aliases, which Milvus Lite writes with it."""
    target = Lite()
    rename_collection(target, ("default", "books"), ("default", "tomes"), loaded=False)  # type: ignore[arg-type]
    assert target.moved
