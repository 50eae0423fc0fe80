"""What is true: tasks, their events and the log that keeps them.

Imports nothing of the rest but the change model and the errors.
"""

from cdc_actors.tasks.checkpoints import Checkpoints
from cdc_actors.tasks.claims import claim
from cdc_actors.tasks.events import (
    CollectionSetAside,
    OperationApplied,
    OperationStarted,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskFailed,
    TaskPaused,
    TaskRecovered,
    TaskRekeyed,
    TaskResumed,
    TaskStarted,
)
from cdc_actors.tasks.fences import Fences
from cdc_actors.tasks.history import Entry, History, Moment, Page, moment_of
from cdc_actors.tasks.log import TaskLog
from cdc_actors.tasks.names import ANY, DEFAULT_DATABASE, FullName, NameMapping
from cdc_actors.tasks.registry import (
    ALTER_ALIAS,
    ALTER_COLLECTION,
    CREATE_ALIAS,
    CREATE_COLLECTION,
    CREATE_DATABASE,
    CREATE_INDEX,
    DROP_ALIAS,
    DROP_COLLECTION,
    DROP_DATABASE,
    DROP_INDEX,
    IMPORT,
    LOAD_COLLECTION,
    LOAD_PARTITIONS,
    RELEASE_COLLECTION,
    RELEASE_PARTITIONS,
    RENAME_COLLECTION,
    UPDATE_CREDENTIAL,
    CollectionEntry,
    CollectionState,
    Loaded,
    Operation,
)
from cdc_actors.tasks.secrets import KEY_VARIABLE, SecretBox, add_key
from cdc_actors.tasks.spec import ConnectParam, TaskSpec
from cdc_actors.tasks.state import Failure, TaskState, Who
from cdc_actors.tasks.task import Task

__all__ = [
    "ALTER_ALIAS",
    "ALTER_COLLECTION",
    "ANY",
    "CREATE_ALIAS",
    "CREATE_COLLECTION",
    "CREATE_DATABASE",
    "CREATE_INDEX",
    "DEFAULT_DATABASE",
    "DROP_ALIAS",
    "DROP_COLLECTION",
    "DROP_DATABASE",
    "DROP_INDEX",
    "IMPORT",
    "KEY_VARIABLE",
    "LOAD_COLLECTION",
    "LOAD_PARTITIONS",
    "RELEASE_COLLECTION",
    "RELEASE_PARTITIONS",
    "RENAME_COLLECTION",
    "UPDATE_CREDENTIAL",
    "Checkpoints",
    "CollectionEntry",
    "CollectionSetAside",
    "CollectionState",
    "ConnectParam",
    "Entry",
    "Failure",
    "Fences",
    "FullName",
    "History",
    "Loaded",
    "Moment",
    "NameMapping",
    "Operation",
    "OperationApplied",
    "OperationStarted",
    "Page",
    "SecretBox",
    "Task",
    "TaskCreated",
    "TaskDeleted",
    "TaskEvent",
    "TaskFailed",
    "TaskLog",
    "TaskPaused",
    "TaskRecovered",
    "TaskRekeyed",
    "TaskResumed",
    "TaskSpec",
    "TaskStarted",
    "TaskState",
    "Who",
    "add_key",
    "claim",
    "moment_of",
]
