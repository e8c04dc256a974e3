"""Client of voicebridge: follow and steer WhatsApp calls that an AI answers.

``Client`` is where to begin. Messages are the generated ones. Here by name are requests about calls and the server with all
that they are made of, the enums of their answers, and what is read most; all others are in ``voicebridge.control.v1`` and
``voicebridge.types.v1``, documented field by field.
"""

from voicebridge.client import TIMEOUT_S, Client
from voicebridge.control.v1.call_pb2 import (
    AdvanceSessionRequest,
    Call,
    CallerAgent,
    CallFilter,
    CallOrder,
    CallPhase,
    CallState,
    CallView,
    EndCallRequest,
    EndReason,
    GetCallRequest,
    HandleWebhookRequest,
    ListCallsRequest,
    ListTranscriptsRequest,
    LookupCallRequest,
    NoticeOutcome,
    Progress,
    Reached,
    SendCommandRequest,
    StartSessionRequest,
    StreamStart,
    UpdateCallLabelsRequest,
    WaitForSessionRequest,
)
from voicebridge.control.v1.command_pb2 import Command, InjectText, Interrupt, Say, SendDtmf
from voicebridge.control.v1.server_pb2 import GetServerInfoRequest
from voicebridge.errors import FieldViolation, VoiceBridgeError
from voicebridge.follow import EventStream
from voicebridge.types.v1.call_pb2 import (
    Agent,
    Caller,
    Direction,
    SignallingMode,
    SignallingStage,
    Stage,
    Termination,
    TerminationResult,
)
from voicebridge.types.v1.event_pb2 import (
    Event,
    EventKind,
    GraphAction,
    PartialTranscript,
    ResponseStatus,
    Speaker,
    Transcript,
)

__all__ = [
    "TIMEOUT_S",
    "AdvanceSessionRequest",
    "Agent",
    "Call",
    "CallFilter",
    "CallOrder",
    "CallPhase",
    "CallState",
    "CallView",
    "Caller",
    "CallerAgent",
    "Client",
    "Command",
    "Direction",
    "EndCallRequest",
    "EndReason",
    "Event",
    "EventKind",
    "EventStream",
    "FieldViolation",
    "GetCallRequest",
    "GetServerInfoRequest",
    "GraphAction",
    "HandleWebhookRequest",
    "InjectText",
    "Interrupt",
    "ListCallsRequest",
    "ListTranscriptsRequest",
    "LookupCallRequest",
    "NoticeOutcome",
    "PartialTranscript",
    "Progress",
    "Reached",
    "ResponseStatus",
    "Say",
    "SendCommandRequest",
    "SendDtmf",
    "SignallingMode",
    "SignallingStage",
    "Speaker",
    "Stage",
    "StartSessionRequest",
    "StreamStart",
    "Termination",
    "TerminationResult",
    "Transcript",
    "UpdateCallLabelsRequest",
    "VoiceBridgeError",
    "WaitForSessionRequest",
]
