from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ColumnHead(_message.Message):
    __slots__ = ("type", "field_name", "scalars", "vectors", "field_id", "is_dynamic", "valid_data")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    FIELD_NAME_FIELD_NUMBER: _ClassVar[int]
    SCALARS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    FIELD_ID_FIELD_NUMBER: _ClassVar[int]
    IS_DYNAMIC_FIELD_NUMBER: _ClassVar[int]
    VALID_DATA_FIELD_NUMBER: _ClassVar[int]
    type: int
    field_name: str
    scalars: ScalarValidity
    vectors: VectorValidity
    field_id: int
    is_dynamic: bool
    valid_data: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, type: _Optional[int] = ..., field_name: _Optional[str] = ..., scalars: _Optional[_Union[ScalarValidity, _Mapping]] = ..., vectors: _Optional[_Union[VectorValidity, _Mapping]] = ..., field_id: _Optional[int] = ..., is_dynamic: _Optional[bool] = ..., valid_data: _Optional[_Iterable[bool]] = ...) -> None: ...

class ScalarValidity(_message.Message):
    __slots__ = ("valid_data",)
    VALID_DATA_FIELD_NUMBER: _ClassVar[int]
    valid_data: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, valid_data: _Optional[_Iterable[bool]] = ...) -> None: ...

class VectorValidity(_message.Message):
    __slots__ = ("valid_data",)
    VALID_DATA_FIELD_NUMBER: _ClassVar[int]
    valid_data: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, valid_data: _Optional[_Iterable[bool]] = ...) -> None: ...

class InsertHead(_message.Message):
    __slots__ = ("db_name", "collection_name", "partition_name", "num_rows")
    DB_NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITION_NAME_FIELD_NUMBER: _ClassVar[int]
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    db_name: str
    collection_name: str
    partition_name: str
    num_rows: int
    def __init__(self, db_name: _Optional[str] = ..., collection_name: _Optional[str] = ..., partition_name: _Optional[str] = ..., num_rows: _Optional[int] = ...) -> None: ...
