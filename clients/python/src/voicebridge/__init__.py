"""Client of voicebridge: follow and steer WhatsApp calls that an AI answers.

``Client`` is where to begin. Messages are the generated ones: those of most use are here by name, all others in
``voicebridge.control.v1`` and ``voicebridge.types.v1``, documented field by field.
"""

from voicebridge.client import TIMEOUT_S, Client
from voicebridge.control.v1.call_pb2 import (
    AdvanceSessionRequest,
    Call,
    CallFilter,
    CallOrder,
    CallState,
    CallView,
    EndCallRequest,
    EndReason,
    GetCallRequest,
    HandleWebhookRequest,
    ListCallsRequest,
    ListTranscriptsRequest,
    Progress,
    SendCommandRequest,
    StartSessionRequest,
    StreamStart,
    WaitForSessionRequest,
)
from voicebridge.control.v1.command_pb2 import Command, InjectText, Interrupt, Say, SendDtmf
from voicebridge.errors import FieldViolation, VoiceBridgeError
from voicebridge.follow import EventStream
from voicebridge.types.v1.call_pb2 import Agent, Caller, SignallingStage, Stage, Termination
from voicebridge.types.v1.event_pb2 import Event, EventKind, Speaker, Transcript

__all__ = [
    "TIMEOUT_S",
    "AdvanceSessionRequest",
    "Agent",
    "Call",
    "CallFilter",
    "CallOrder",
    "CallState",
    "CallView",
    "Caller",
    "Client",
    "Command",
    "EndCallRequest",
    "EndReason",
    "Event",
    "EventKind",
    "EventStream",
    "FieldViolation",
    "GetCallRequest",
    "HandleWebhookRequest",
    "InjectText",
    "Interrupt",
    "ListCallsRequest",
    "ListTranscriptsRequest",
    "Progress",
    "Say",
    "SendCommandRequest",
    "SendDtmf",
    "SignallingStage",
    "Speaker",
    "Stage",
    "StartSessionRequest",
    "StreamStart",
    "Termination",
    "Transcript",
    "VoiceBridgeError",
    "WaitForSessionRequest",
]
