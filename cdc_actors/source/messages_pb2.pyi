from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Base(_message.Message):
    __slots__ = ("msg_type", "timestamp")
    MSG_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    msg_type: int
    timestamp: int
    def __init__(self, msg_type: _Optional[int] = ..., timestamp: _Optional[int] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("base",)
    BASE_FIELD_NUMBER: _ClassVar[int]
    base: Base
    def __init__(self, base: _Optional[_Union[Base, _Mapping]] = ...) -> None: ...

class Insert(_message.Message):
    __slots__ = ("base", "shard_name", "partition_name", "collection_id", "timestamps", "fields_data", "num_rows")
    BASE_FIELD_NUMBER: _ClassVar[int]
    SHARD_NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITION_NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMPS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_DATA_FIELD_NUMBER: _ClassVar[int]
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    base: Base
    shard_name: str
    partition_name: str
    collection_id: int
    timestamps: _containers.RepeatedScalarFieldContainer[int]
    fields_data: _containers.RepeatedScalarFieldContainer[bytes]
    num_rows: int
    def __init__(self, base: _Optional[_Union[Base, _Mapping]] = ..., shard_name: _Optional[str] = ..., partition_name: _Optional[str] = ..., collection_id: _Optional[int] = ..., timestamps: _Optional[_Iterable[int]] = ..., fields_data: _Optional[_Iterable[bytes]] = ..., num_rows: _Optional[int] = ...) -> None: ...
