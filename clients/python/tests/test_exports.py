"""What is to be had from ``voicebridge`` itself: enough for every request, and for reading every answer."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, EnumDescriptor, ServiceDescriptor

import voicebridge
from voicebridge.control.v1 import call_pb2, server_pb2

OURS = "voicebridge."


def parts(message: Descriptor, seen: set[str]) -> Iterator[Descriptor | EnumDescriptor]:
    """A message and all that it is made of; of a map what is in it."""
    if message.full_name in seen or not message.full_name.startswith(OURS):
        return
    seen.add(message.full_name)
    if not message.GetOptions().map_entry:
        yield message
    for field in message.fields:
        if field.enum_type is not None:
            yield field.enum_type
        if field.message_type is not None:
            yield from parts(field.message_type, seen)


def services() -> Iterator[ServiceDescriptor]:
    yield from call_pb2.DESCRIPTOR.services_by_name.values()
    yield from server_pb2.DESCRIPTOR.services_by_name.values()


def test_all_that_requests_are_made_of_is_exported_and_all_enums_of_answers() -> None:
    wanted: set[str] = set()
    for service in services():
        for method in service.methods:
            # Client.follow makes that of the stream.
            asked = [part.name for part in parts(method.input_type, set()) if part.name != "StreamEventsRequest"]
            answered = [part.name for part in parts(method.output_type, set()) if isinstance(part, EnumDescriptor)]
            wanted.update(asked, answered)
    assert {"CallerAgent", "EventKind", "CallPhase", "GetServerInfoRequest"} <= wanted
    assert sorted(wanted - set(voicebridge.__all__)) == []
    assert all(hasattr(voicebridge, name) for name in voicebridge.__all__)
