from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Nothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PChannelInfo(_message.Message):
    __slots__ = ("name", "term", "access_mode")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    ACCESS_MODE_FIELD_NUMBER: _ClassVar[int]
    name: str
    term: int
    access_mode: int
    def __init__(self, name: _Optional[str] = ..., term: _Optional[int] = ..., access_mode: _Optional[int] = ...) -> None: ...

class StreamingNodeInfo(_message.Message):
    __slots__ = ("server_id", "address")
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    server_id: int
    address: str
    def __init__(self, server_id: _Optional[int] = ..., address: _Optional[str] = ...) -> None: ...

class PChannelMeta(_message.Message):
    __slots__ = ("channel", "node", "state")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    channel: PChannelInfo
    node: StreamingNodeInfo
    state: int
    def __init__(self, channel: _Optional[_Union[PChannelInfo, _Mapping]] = ..., node: _Optional[_Union[StreamingNodeInfo, _Mapping]] = ..., state: _Optional[int] = ...) -> None: ...

class MessageID(_message.Message):
    __slots__ = ("id", "wal_name")
    ID_FIELD_NUMBER: _ClassVar[int]
    WAL_NAME_FIELD_NUMBER: _ClassVar[int]
    id: str
    wal_name: int
    def __init__(self, id: _Optional[str] = ..., wal_name: _Optional[int] = ...) -> None: ...

class ImmutableMessage(_message.Message):
    __slots__ = ("id", "payload", "properties")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    id: MessageID
    payload: bytes
    properties: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[_Union[MessageID, _Mapping]] = ..., payload: _Optional[bytes] = ..., properties: _Optional[_Mapping[str, str]] = ...) -> None: ...

class DeliverPolicy(_message.Message):
    __slots__ = ("all", "latest", "start_from", "start_after")
    ALL_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    START_FROM_FIELD_NUMBER: _ClassVar[int]
    START_AFTER_FIELD_NUMBER: _ClassVar[int]
    all: Nothing
    latest: Nothing
    start_from: MessageID
    start_after: MessageID
    def __init__(self, all: _Optional[_Union[Nothing, _Mapping]] = ..., latest: _Optional[_Union[Nothing, _Mapping]] = ..., start_from: _Optional[_Union[MessageID, _Mapping]] = ..., start_after: _Optional[_Union[MessageID, _Mapping]] = ...) -> None: ...

class CreateConsumerRequest(_message.Message):
    __slots__ = ("pchannel",)
    PCHANNEL_FIELD_NUMBER: _ClassVar[int]
    pchannel: PChannelInfo
    def __init__(self, pchannel: _Optional[_Union[PChannelInfo, _Mapping]] = ...) -> None: ...

class CreateVChannelConsumerRequest(_message.Message):
    __slots__ = ("vchannel", "deliver_policy", "ignore_pause_consumption")
    VCHANNEL_FIELD_NUMBER: _ClassVar[int]
    DELIVER_POLICY_FIELD_NUMBER: _ClassVar[int]
    IGNORE_PAUSE_CONSUMPTION_FIELD_NUMBER: _ClassVar[int]
    vchannel: str
    deliver_policy: DeliverPolicy
    ignore_pause_consumption: bool
    def __init__(self, vchannel: _Optional[str] = ..., deliver_policy: _Optional[_Union[DeliverPolicy, _Mapping]] = ..., ignore_pause_consumption: _Optional[bool] = ...) -> None: ...

class ConsumeRequest(_message.Message):
    __slots__ = ("create_vchannel_consumer",)
    CREATE_VCHANNEL_CONSUMER_FIELD_NUMBER: _ClassVar[int]
    create_vchannel_consumer: CreateVChannelConsumerRequest
    def __init__(self, create_vchannel_consumer: _Optional[_Union[CreateVChannelConsumerRequest, _Mapping]] = ...) -> None: ...

class CreateConsumerResponse(_message.Message):
    __slots__ = ("wal_name",)
    WAL_NAME_FIELD_NUMBER: _ClassVar[int]
    wal_name: str
    def __init__(self, wal_name: _Optional[str] = ...) -> None: ...

class ConsumeMessageResponse(_message.Message):
    __slots__ = ("consumer_id", "message")
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    consumer_id: int
    message: ImmutableMessage
    def __init__(self, consumer_id: _Optional[int] = ..., message: _Optional[_Union[ImmutableMessage, _Mapping]] = ...) -> None: ...

class ConsumeResponse(_message.Message):
    __slots__ = ("create", "consume", "create_vchannel", "close")
    CREATE_FIELD_NUMBER: _ClassVar[int]
    CONSUME_FIELD_NUMBER: _ClassVar[int]
    CREATE_VCHANNEL_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    create: CreateConsumerResponse
    consume: ConsumeMessageResponse
    create_vchannel: Nothing
    close: Nothing
    def __init__(self, create: _Optional[_Union[CreateConsumerResponse, _Mapping]] = ..., consume: _Optional[_Union[ConsumeMessageResponse, _Mapping]] = ..., create_vchannel: _Optional[_Union[Nothing, _Mapping]] = ..., close: _Optional[_Union[Nothing, _Mapping]] = ...) -> None: ...

class DumpMessagesResponse(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: ImmutableMessage
    def __init__(self, message: _Optional[_Union[ImmutableMessage, _Mapping]] = ...) -> None: ...

class StreamingError(_message.Message):
    __slots__ = ("code", "cause")
    CODE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    code: int
    cause: str
    def __init__(self, code: _Optional[int] = ..., cause: _Optional[str] = ...) -> None: ...

class Detail(_message.Message):
    __slots__ = ("type_url", "value")
    TYPE_URL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    type_url: str
    value: bytes
    def __init__(self, type_url: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("code", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[Detail]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[Detail, _Mapping]]] = ...) -> None: ...

class EntryID(_message.Message):
    __slots__ = ("segment", "entry")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    segment: int
    entry: int
    def __init__(self, segment: _Optional[int] = ..., entry: _Optional[int] = ...) -> None: ...

class RowsHeader(_message.Message):
    __slots__ = ("collection_id",)
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    collection_id: int
    def __init__(self, collection_id: _Optional[int] = ...) -> None: ...

class TruncateHeader(_message.Message):
    __slots__ = ("collection_id",)
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    collection_id: int
    def __init__(self, collection_id: _Optional[int] = ...) -> None: ...
