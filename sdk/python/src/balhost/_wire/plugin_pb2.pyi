from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ("host_version", "capabilities")
    HOST_VERSION_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    host_version: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, host_version: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("name", "version", "capabilities", "categories", "order", "upstream", "outcome", "receipt", "timer")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    TIMER_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    categories: _containers.RepeatedScalarFieldContainer[str]
    order: str
    upstream: bool
    outcome: bool
    receipt: bool
    timer: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., categories: _Optional[_Iterable[str]] = ..., order: _Optional[str] = ..., upstream: bool = ..., outcome: bool = ..., receipt: bool = ..., timer: bool = ...) -> None: ...

class ConfigureRequest(_message.Message):
    __slots__ = ("config", "log_level", "sessions", "transports", "host_version", "limits", "former")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    LOG_LEVEL_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORTS_FIELD_NUMBER: _ClassVar[int]
    HOST_VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    FORMER_FIELD_NUMBER: _ClassVar[int]
    config: bytes
    log_level: str
    sessions: _containers.RepeatedScalarFieldContainer[str]
    transports: _containers.RepeatedScalarFieldContainer[str]
    host_version: str
    limits: Limits
    former: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, config: _Optional[bytes] = ..., log_level: _Optional[str] = ..., sessions: _Optional[_Iterable[str]] = ..., transports: _Optional[_Iterable[str]] = ..., host_version: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., former: _Optional[_Iterable[str]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("changes", "change_bytes", "key_bytes", "value_bytes", "calls", "frame_bytes", "in_flight", "extend_ms", "ping_ms", "error_bytes")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    CHANGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    EXTEND_MS_FIELD_NUMBER: _ClassVar[int]
    PING_MS_FIELD_NUMBER: _ClassVar[int]
    ERROR_BYTES_FIELD_NUMBER: _ClassVar[int]
    changes: int
    change_bytes: int
    key_bytes: int
    value_bytes: int
    calls: int
    frame_bytes: int
    in_flight: int
    extend_ms: int
    ping_ms: int
    error_bytes: int
    def __init__(self, changes: _Optional[int] = ..., change_bytes: _Optional[int] = ..., key_bytes: _Optional[int] = ..., value_bytes: _Optional[int] = ..., calls: _Optional[int] = ..., frame_bytes: _Optional[int] = ..., in_flight: _Optional[int] = ..., extend_ms: _Optional[int] = ..., ping_ms: _Optional[int] = ..., error_bytes: _Optional[int] = ...) -> None: ...

class ConfigureReply(_message.Message):
    __slots__ = ("error",)
    ERROR_FIELD_NUMBER: _ClassVar[int]
    error: str
    def __init__(self, error: _Optional[str] = ...) -> None: ...

class HostFrame(_message.Message):
    __slots__ = ("deliver", "revoke", "drain", "reply", "ping", "run", "log_level", "sessions", "transports")
    DELIVER_FIELD_NUMBER: _ClassVar[int]
    REVOKE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    LOG_LEVEL_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORTS_FIELD_NUMBER: _ClassVar[int]
    deliver: _containers.RepeatedCompositeFieldContainer[Delivery]
    revoke: _containers.RepeatedScalarFieldContainer[int]
    drain: Drain
    reply: _containers.RepeatedCompositeFieldContainer[Reply]
    ping: int
    run: bool
    log_level: str
    sessions: _containers.RepeatedScalarFieldContainer[str]
    transports: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, deliver: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., revoke: _Optional[_Iterable[int]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., reply: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ..., ping: _Optional[int] = ..., run: bool = ..., log_level: _Optional[str] = ..., sessions: _Optional[_Iterable[str]] = ..., transports: _Optional[_Iterable[str]] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("delivery", "attempt", "timeout_ms", "upstream", "outcome", "receipt", "timer", "traceparent")
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    TIMER_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    delivery: int
    attempt: int
    timeout_ms: int
    upstream: Upstream
    outcome: Outcome
    receipt: Receipt
    timer: Timer
    traceparent: str
    def __init__(self, delivery: _Optional[int] = ..., attempt: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., upstream: _Optional[_Union[Upstream, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., timer: _Optional[_Union[Timer, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Upstream(_message.Message):
    __slots__ = ("id", "session", "device", "category", "message_id", "raw", "received_ms", "data_start", "data_end", "data")
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_MS_FIELD_NUMBER: _ClassVar[int]
    DATA_START_FIELD_NUMBER: _ClassVar[int]
    DATA_END_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    session: str
    device: str
    category: str
    message_id: str
    raw: bytes
    received_ms: int
    data_start: int
    data_end: int
    data: bytes
    def __init__(self, id: _Optional[str] = ..., session: _Optional[str] = ..., device: _Optional[str] = ..., category: _Optional[str] = ..., message_id: _Optional[str] = ..., raw: _Optional[bytes] = ..., received_ms: _Optional[int] = ..., data_start: _Optional[int] = ..., data_end: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("token", "topic", "condition", "fid")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    FID_FIELD_NUMBER: _ClassVar[int]
    token: str
    topic: str
    condition: str
    fid: str
    def __init__(self, token: _Optional[str] = ..., topic: _Optional[str] = ..., condition: _Optional[str] = ..., fid: _Optional[str] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("id", "session", "message_id", "group", "to", "status", "code", "description", "new_token", "attempts", "context", "gone")
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    NEW_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    id: str
    session: str
    message_id: str
    group: str
    to: Target
    status: str
    code: str
    description: str
    new_token: str
    attempts: int
    context: bytes
    gone: bool
    def __init__(self, id: _Optional[str] = ..., session: _Optional[str] = ..., message_id: _Optional[str] = ..., group: _Optional[str] = ..., to: _Optional[_Union[Target, _Mapping]] = ..., status: _Optional[str] = ..., code: _Optional[str] = ..., description: _Optional[str] = ..., new_token: _Optional[str] = ..., attempts: _Optional[int] = ..., context: _Optional[bytes] = ..., gone: bool = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("id", "session", "original_message_id", "device", "category", "status", "sent_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SENT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    session: str
    original_message_id: str
    device: str
    category: str
    status: str
    sent_ms: int
    def __init__(self, id: _Optional[str] = ..., session: _Optional[str] = ..., original_message_id: _Optional[str] = ..., device: _Optional[str] = ..., category: _Optional[str] = ..., status: _Optional[str] = ..., sent_ms: _Optional[int] = ...) -> None: ...

class Timer(_message.Message):
    __slots__ = ("id", "session", "key", "data", "due_ms", "device")
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DUE_MS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    id: str
    session: str
    key: str
    data: bytes
    due_ms: int
    device: str
    def __init__(self, id: _Optional[str] = ..., session: _Optional[str] = ..., key: _Optional[str] = ..., data: _Optional[bytes] = ..., due_ms: _Optional[int] = ..., device: _Optional[str] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("reason", "timeout_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    timeout_ms: int
    def __init__(self, reason: _Optional[str] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class PluginFrame(_message.Message):
    __slots__ = ("done", "result", "extend", "credit", "call", "drained", "pong", "abandon", "run_failure")
    DONE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    EXTEND_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    ABANDON_FIELD_NUMBER: _ClassVar[int]
    RUN_FAILURE_FIELD_NUMBER: _ClassVar[int]
    done: _containers.RepeatedScalarFieldContainer[int]
    result: _containers.RepeatedCompositeFieldContainer[Result]
    extend: _containers.RepeatedScalarFieldContainer[int]
    credit: int
    call: _containers.RepeatedCompositeFieldContainer[Call]
    drained: bool
    pong: int
    abandon: _containers.RepeatedScalarFieldContainer[int]
    run_failure: RunFailure
    def __init__(self, done: _Optional[_Iterable[int]] = ..., result: _Optional[_Iterable[_Union[Result, _Mapping]]] = ..., extend: _Optional[_Iterable[int]] = ..., credit: _Optional[int] = ..., call: _Optional[_Iterable[_Union[Call, _Mapping]]] = ..., drained: bool = ..., pong: _Optional[int] = ..., abandon: _Optional[_Iterable[int]] = ..., run_failure: _Optional[_Union[RunFailure, _Mapping]] = ...) -> None: ...

class RunFailure(_message.Message):
    __slots__ = ("failures", "error", "wait_ms")
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    failures: int
    error: str
    wait_ms: int
    def __init__(self, failures: _Optional[int] = ..., error: _Optional[str] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("delivery", "code", "delay_ms", "error", "changes")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Result.Code]
        DONE: _ClassVar[Result.Code]
        RETRY: _ClassVar[Result.Code]
        REJECT: _ClassVar[Result.Code]
        RELEASE: _ClassVar[Result.Code]
    UNSPECIFIED: Result.Code
    DONE: Result.Code
    RETRY: Result.Code
    REJECT: Result.Code
    RELEASE: Result.Code
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    delivery: int
    code: Result.Code
    delay_ms: int
    error: str
    changes: Changes
    def __init__(self, delivery: _Optional[int] = ..., code: _Optional[_Union[Result.Code, str]] = ..., delay_ms: _Optional[int] = ..., error: _Optional[str] = ..., changes: _Optional[_Union[Changes, _Mapping]] = ...) -> None: ...

class Changes(_message.Message):
    __slots__ = ("send", "write", "read", "range", "schedule", "cancel")
    SEND_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    send: _containers.RepeatedCompositeFieldContainer[Downstream]
    write: _containers.RepeatedCompositeFieldContainer[Write]
    read: _containers.RepeatedCompositeFieldContainer[Read]
    range: _containers.RepeatedCompositeFieldContainer[Range]
    schedule: _containers.RepeatedCompositeFieldContainer[Schedule]
    cancel: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, send: _Optional[_Iterable[_Union[Downstream, _Mapping]]] = ..., write: _Optional[_Iterable[_Union[Write, _Mapping]]] = ..., read: _Optional[_Iterable[_Union[Read, _Mapping]]] = ..., range: _Optional[_Iterable[_Union[Range, _Mapping]]] = ..., schedule: _Optional[_Iterable[_Union[Schedule, _Mapping]]] = ..., cancel: _Optional[_Iterable[str]] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("key", "at_ms", "data", "cancel", "device", "named")
    KEY_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    NAMED_FIELD_NUMBER: _ClassVar[int]
    key: str
    at_ms: int
    data: bytes
    cancel: bool
    device: Device
    named: str
    def __init__(self, key: _Optional[str] = ..., at_ms: _Optional[int] = ..., data: _Optional[bytes] = ..., cancel: bool = ..., device: _Optional[_Union[Device, _Mapping]] = ..., named: _Optional[str] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("session", "device")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    session: str
    device: str
    def __init__(self, session: _Optional[str] = ..., device: _Optional[str] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("prefix", "after", "last", "digest")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    after: str
    last: str
    digest: bytes
    def __init__(self, prefix: _Optional[str] = ..., after: _Optional[str] = ..., last: _Optional[str] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Write(_message.Message):
    __slots__ = ("key", "value", "remove")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    remove: bool
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ..., remove: bool = ...) -> None: ...

class Read(_message.Message):
    __slots__ = ("key", "version")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    key: str
    version: int
    def __init__(self, key: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Downstream(_message.Message):
    __slots__ = ("message_id", "session", "to", "data", "notification", "options", "group", "context", "not_before_ms", "replace", "traceparent")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    NOTIFICATION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    session: str
    to: Target
    data: bytes
    notification: bytes
    options: Options
    group: str
    context: bytes
    not_before_ms: int
    replace: str
    traceparent: str
    def __init__(self, message_id: _Optional[str] = ..., session: _Optional[str] = ..., to: _Optional[_Union[Target, _Mapping]] = ..., data: _Optional[bytes] = ..., notification: _Optional[bytes] = ..., options: _Optional[_Union[Options, _Mapping]] = ..., group: _Optional[str] = ..., context: _Optional[bytes] = ..., not_before_ms: _Optional[int] = ..., replace: _Optional[str] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Options(_message.Message):
    __slots__ = ("ttl_s", "priority", "collapse_key", "dry_run", "receipt_requested", "content_available", "mutable_content", "android", "apns", "webpush")
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    COLLAPSE_KEY_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    CONTENT_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MUTABLE_CONTENT_FIELD_NUMBER: _ClassVar[int]
    ANDROID_FIELD_NUMBER: _ClassVar[int]
    APNS_FIELD_NUMBER: _ClassVar[int]
    WEBPUSH_FIELD_NUMBER: _ClassVar[int]
    ttl_s: int
    priority: str
    collapse_key: str
    dry_run: bool
    receipt_requested: bool
    content_available: bool
    mutable_content: bool
    android: bytes
    apns: bytes
    webpush: bytes
    def __init__(self, ttl_s: _Optional[int] = ..., priority: _Optional[str] = ..., collapse_key: _Optional[str] = ..., dry_run: bool = ..., receipt_requested: bool = ..., content_available: bool = ..., mutable_content: bool = ..., android: _Optional[bytes] = ..., apns: _Optional[bytes] = ..., webpush: _Optional[bytes] = ...) -> None: ...

class Call(_message.Message):
    __slots__ = ("id", "send", "get", "update", "list", "cancel", "delivery", "transaction")
    ID_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    id: int
    send: Downstream
    get: str
    update: Changes
    list: List
    cancel: str
    delivery: int
    transaction: int
    def __init__(self, id: _Optional[int] = ..., send: _Optional[_Union[Downstream, _Mapping]] = ..., get: _Optional[str] = ..., update: _Optional[_Union[Changes, _Mapping]] = ..., list: _Optional[_Union[List, _Mapping]] = ..., cancel: _Optional[str] = ..., delivery: _Optional[int] = ..., transaction: _Optional[int] = ...) -> None: ...

class List(_message.Message):
    __slots__ = ("prefix", "after", "max")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    after: str
    max: int
    def __init__(self, prefix: _Optional[str] = ..., after: _Optional[str] = ..., max: _Optional[int] = ...) -> None: ...

class ListReply(_message.Message):
    __slots__ = ("item", "more", "digest")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    item: _containers.RepeatedCompositeFieldContainer[Item]
    more: bool
    digest: bytes
    def __init__(self, item: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., more: bool = ..., digest: _Optional[bytes] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("key", "value", "version")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    version: int
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ..., version: _Optional[int] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("id", "code", "error", "value", "version", "list", "canceled")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OK: _ClassVar[Reply.Code]
        INVALID: _ClassVar[Reply.Code]
        CONFLICT: _ClassVar[Reply.Code]
        UNAVAILABLE: _ClassVar[Reply.Code]
    OK: Reply.Code
    INVALID: Reply.Code
    CONFLICT: Reply.Code
    UNAVAILABLE: Reply.Code
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    CANCELED_FIELD_NUMBER: _ClassVar[int]
    id: int
    code: Reply.Code
    error: str
    value: bytes
    version: int
    list: ListReply
    canceled: bool
    def __init__(self, id: _Optional[int] = ..., code: _Optional[_Union[Reply.Code, str]] = ..., error: _Optional[str] = ..., value: _Optional[bytes] = ..., version: _Optional[int] = ..., list: _Optional[_Union[ListReply, _Mapping]] = ..., canceled: bool = ...) -> None: ...
