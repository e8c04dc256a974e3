// What both entry points give besides their client.

export { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
export type { ClientOptions } from "./client.ts";
export { type ErrorCode, type ErrorMetadata, type FieldViolation, VoiceBridgeError } from "./error.ts";
export { type Connect, EventStream, type Followed, type FollowOptions, type FollowRequest } from "./follow.ts";
export * from "./gen/voicebridge/control/v1/call_pb.ts";
export * from "./gen/voicebridge/control/v1/command_pb.ts";
export * from "./gen/voicebridge/control/v1/server_pb.ts";
export * from "./gen/voicebridge/types/v1/call_pb.ts";
export * from "./gen/voicebridge/types/v1/event_pb.ts";
