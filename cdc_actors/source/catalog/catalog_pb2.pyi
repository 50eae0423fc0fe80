from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeyValue(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class KeyData(_message.Message):
    __slots__ = ("key", "data")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    key: str
    data: bytes
    def __init__(self, key: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class DatabaseInfo(_message.Message):
    __slots__ = ("name", "id", "created_time", "properties")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    name: str
    id: int
    created_time: int
    properties: _containers.RepeatedCompositeFieldContainer[KeyValue]
    def __init__(self, name: _Optional[str] = ..., id: _Optional[int] = ..., created_time: _Optional[int] = ..., properties: _Optional[_Iterable[_Union[KeyValue, _Mapping]]] = ...) -> None: ...

class ShardInfo(_message.Message):
    __slots__ = ("truncated",)
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    truncated: int
    def __init__(self, truncated: _Optional[int] = ...) -> None: ...

class CollectionInfo(_message.Message):
    __slots__ = ("id", "schema", "create_time", "virtual_channel_names", "physical_channel_names", "shards_num", "start_positions", "consistency_level", "state", "properties", "updated", "shards")
    ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    VIRTUAL_CHANNEL_NAMES_FIELD_NUMBER: _ClassVar[int]
    PHYSICAL_CHANNEL_NAMES_FIELD_NUMBER: _ClassVar[int]
    SHARDS_NUM_FIELD_NUMBER: _ClassVar[int]
    START_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_LEVEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    id: int
    schema: bytes
    create_time: int
    virtual_channel_names: _containers.RepeatedScalarFieldContainer[str]
    physical_channel_names: _containers.RepeatedScalarFieldContainer[str]
    shards_num: int
    start_positions: _containers.RepeatedCompositeFieldContainer[KeyData]
    consistency_level: int
    state: int
    properties: _containers.RepeatedCompositeFieldContainer[KeyValue]
    updated: int
    shards: _containers.RepeatedCompositeFieldContainer[ShardInfo]
    def __init__(self, id: _Optional[int] = ..., schema: _Optional[bytes] = ..., create_time: _Optional[int] = ..., virtual_channel_names: _Optional[_Iterable[str]] = ..., physical_channel_names: _Optional[_Iterable[str]] = ..., shards_num: _Optional[int] = ..., start_positions: _Optional[_Iterable[_Union[KeyData, _Mapping]]] = ..., consistency_level: _Optional[int] = ..., state: _Optional[int] = ..., properties: _Optional[_Iterable[_Union[KeyValue, _Mapping]]] = ..., updated: _Optional[int] = ..., shards: _Optional[_Iterable[_Union[ShardInfo, _Mapping]]] = ...) -> None: ...

class AliasInfo(_message.Message):
    __slots__ = ("alias_name", "collection_id", "created_time")
    ALIAS_NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    alias_name: str
    collection_id: int
    created_time: int
    def __init__(self, alias_name: _Optional[str] = ..., collection_id: _Optional[int] = ..., created_time: _Optional[int] = ...) -> None: ...

class PartitionInfo(_message.Message):
    __slots__ = ("partition_id", "partition_name", "partition_created_timestamp", "state")
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITION_CREATED_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    partition_name: str
    partition_created_timestamp: int
    state: int
    def __init__(self, partition_id: _Optional[int] = ..., partition_name: _Optional[str] = ..., partition_created_timestamp: _Optional[int] = ..., state: _Optional[int] = ...) -> None: ...

class IndexInfo(_message.Message):
    __slots__ = ("collection_id", "field_id", "index_name", "index_params", "user_index_params")
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    FIELD_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_PARAMS_FIELD_NUMBER: _ClassVar[int]
    USER_INDEX_PARAMS_FIELD_NUMBER: _ClassVar[int]
    collection_id: int
    field_id: int
    index_name: str
    index_params: _containers.RepeatedCompositeFieldContainer[KeyValue]
    user_index_params: _containers.RepeatedCompositeFieldContainer[KeyValue]
    def __init__(self, collection_id: _Optional[int] = ..., field_id: _Optional[int] = ..., index_name: _Optional[str] = ..., index_params: _Optional[_Iterable[_Union[KeyValue, _Mapping]]] = ..., user_index_params: _Optional[_Iterable[_Union[KeyValue, _Mapping]]] = ...) -> None: ...

class FieldIndex(_message.Message):
    __slots__ = ("index_info", "deleted", "create_time")
    INDEX_INFO_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    index_info: IndexInfo
    deleted: bool
    create_time: int
    def __init__(self, index_info: _Optional[_Union[IndexInfo, _Mapping]] = ..., deleted: _Optional[bool] = ..., create_time: _Optional[int] = ...) -> None: ...

class CollectionLoadInfo(_message.Message):
    __slots__ = ("collection_id", "replica_number", "load_type", "load_fields")
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_NUMBER_FIELD_NUMBER: _ClassVar[int]
    LOAD_TYPE_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELDS_FIELD_NUMBER: _ClassVar[int]
    collection_id: int
    replica_number: int
    load_type: int
    load_fields: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, collection_id: _Optional[int] = ..., replica_number: _Optional[int] = ..., load_type: _Optional[int] = ..., load_fields: _Optional[_Iterable[int]] = ...) -> None: ...

class PartitionLoadInfo(_message.Message):
    __slots__ = ("collection_id", "partition_id", "replica_number")
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_NUMBER_FIELD_NUMBER: _ClassVar[int]
    collection_id: int
    partition_id: int
    replica_number: int
    def __init__(self, collection_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., replica_number: _Optional[int] = ...) -> None: ...

class ImportState(_message.Message):
    __slots__ = ("code", "rows")
    CODE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    code: int
    rows: int
    def __init__(self, code: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class ImportTask(_message.Message):
    __slots__ = ("id", "collection_id", "created", "state")
    ID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    id: int
    collection_id: int
    created: int
    state: ImportState
    def __init__(self, id: _Optional[int] = ..., collection_id: _Optional[int] = ..., created: _Optional[int] = ..., state: _Optional[_Union[ImportState, _Mapping]] = ...) -> None: ...

class ImportJob(_message.Message):
    __slots__ = ("id", "collection_id", "state", "started")
    ID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    id: int
    collection_id: int
    state: int
    started: str
    def __init__(self, id: _Optional[int] = ..., collection_id: _Optional[int] = ..., state: _Optional[int] = ..., started: _Optional[str] = ...) -> None: ...

class CopySegmentJob(_message.Message):
    __slots__ = ("id", "collection_id", "state", "started", "rows")
    ID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    id: int
    collection_id: int
    state: int
    started: int
    rows: int
    def __init__(self, id: _Optional[int] = ..., collection_id: _Optional[int] = ..., state: _Optional[int] = ..., started: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class ImportFile(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    def __init__(self, rows: _Optional[int] = ...) -> None: ...

class ImportJobTask(_message.Message):
    __slots__ = ("job_id", "files")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    job_id: int
    files: _containers.RepeatedCompositeFieldContainer[ImportFile]
    def __init__(self, job_id: _Optional[int] = ..., files: _Optional[_Iterable[_Union[ImportFile, _Mapping]]] = ...) -> None: ...
