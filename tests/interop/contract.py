"""Reads calls and acts on them over gRPC as a foreign client would: no generated code, the contract comes from server
reflection."""

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "voicebridge.control.v1.CallService"
DEADLINE_S = 5


class _Details(grpc.ClientCallDetails):
    def __init__(self, before: grpc.ClientCallDetails, metadata: list[tuple[str, str]]) -> None:
        self.method, self.timeout, self.credentials = before.method, before.timeout, before.credentials
        self.wait_for_ready, self.compression = before.wait_for_ready, before.compression
        self.metadata = metadata


class _Key(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Shows the key with every request, those for reflection too."""

    def __init__(self, key: str) -> None:
        self._key = ("authorization", f"Bearer {key}")

    def _shown(self, continuation, details, request):
        return continuation(_Details(details, [*(details.metadata or ()), self._key]), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_stream = _shown


class Calls:
    def __init__(self, authority: str, key: str) -> None:
        self._bare = grpc.insecure_channel(authority)
        self._channel = grpc.intercept_channel(self._bare, _Key(key))
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self._channel))
        self._service = pool.FindServiceByName(SERVICE)

    def get(self, call_id: str) -> dict:
        """The call as the contract's JSON: camelCase names, enums by name."""
        return MessageToDict(self._invoke(self._channel.unary_unary, "GetCall", call_id=call_id))["call"]

    def transcripts(self, call_id: str) -> list[dict]:
        """What was said, in the order of its beginning; one page is more than a call of a test has."""
        page = self._invoke(self._channel.unary_unary, "ListTranscripts", call_id=call_id, page_size=1000)
        return [MessageToDict(said) for said in page.transcripts]

    def send_keys(self, call_id: str, digits: str) -> None:
        """Has the bridge press keys."""
        command = {"send_dtmf": {"digits": digits}}
        self._invoke(self._channel.unary_unary, "SendCommand", call_id=call_id, command=command)

    def events(self, call_id: str) -> list[dict]:
        """Every durable event of a call that has ended, from the first."""
        stream = self._invoke(self._channel.unary_stream, "StreamEvents", call_id=call_id)
        return [MessageToDict(message.event) for message in stream if message.HasField("event")]

    def _invoke(self, kind, name: str, **fields):
        method = self._service.FindMethodByName(name)
        invoke = kind(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return invoke(GetMessageClass(method.input_type)(**fields), timeout=DEADLINE_S)

    def close(self) -> None:
        self._bare.close()
