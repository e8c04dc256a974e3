"""Reads calls over gRPC as a foreign client would: no generated code, the contract comes from server reflection."""

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "voicebridge.control.v1.CallService"
DEADLINE_S = 5


class Calls:
    def __init__(self, authority: str) -> None:
        self._channel = grpc.insecure_channel(authority)
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self._channel))
        self._service = pool.FindServiceByName(SERVICE)

    def get(self, call_id: str) -> dict:
        """The call as the contract's JSON: camelCase names, enums by name."""
        method = self._service.FindMethodByName("GetCall")
        request = GetMessageClass(method.input_type)(call_id=call_id)
        invoke = self._channel.unary_unary(
            f"/{SERVICE}/GetCall",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return MessageToDict(invoke(request, timeout=DEADLINE_S))["call"]

    def close(self) -> None:
        self._channel.close()
