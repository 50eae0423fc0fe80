from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Position(_message.Message):
    __slots__ = ("channel_name", "message_id", "timestamp")
    CHANNEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    channel_name: str
    message_id: bytes
    timestamp: int
    def __init__(self, channel_name: _Optional[str] = ..., message_id: _Optional[bytes] = ..., timestamp: _Optional[int] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("id", "collection_id", "partition_id", "channel", "rows", "state", "created_by_compaction", "is_importing", "is_fake", "level", "storage_version", "is_invisible", "manifest_path", "commit_timestamp")
    ID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_COMPACTION_FIELD_NUMBER: _ClassVar[int]
    IS_IMPORTING_FIELD_NUMBER: _ClassVar[int]
    IS_FAKE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    STORAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    IS_INVISIBLE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_PATH_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    id: int
    collection_id: int
    partition_id: int
    channel: str
    rows: int
    state: int
    created_by_compaction: bool
    is_importing: bool
    is_fake: bool
    level: int
    storage_version: int
    is_invisible: bool
    manifest_path: str
    commit_timestamp: int
    def __init__(self, id: _Optional[int] = ..., collection_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., channel: _Optional[str] = ..., rows: _Optional[int] = ..., state: _Optional[int] = ..., created_by_compaction: bool = ..., is_importing: bool = ..., is_fake: bool = ..., level: _Optional[int] = ..., storage_version: _Optional[int] = ..., is_invisible: bool = ..., manifest_path: _Optional[str] = ..., commit_timestamp: _Optional[int] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("rows", "path", "size", "id")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    rows: int
    path: str
    size: int
    id: int
    def __init__(self, rows: _Optional[int] = ..., path: _Optional[str] = ..., size: _Optional[int] = ..., id: _Optional[int] = ...) -> None: ...

class FieldFiles(_message.Message):
    __slots__ = ("field_id", "files", "child_fields")
    FIELD_ID_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    CHILD_FIELDS_FIELD_NUMBER: _ClassVar[int]
    field_id: int
    files: _containers.RepeatedCompositeFieldContainer[File]
    child_fields: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, field_id: _Optional[int] = ..., files: _Optional[_Iterable[_Union[File, _Mapping]]] = ..., child_fields: _Optional[_Iterable[int]] = ...) -> None: ...
