package voicebridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain of google.rpc.ErrorInfo in everything voicebridge answers; reasons of other domains are not taken for ours.
const errorDomain = "voicebridge.dev"

// Error is what went wrong with a request or a stream. Every error of this package but those of [Dial] is one; get at it
// with errors.As. What the caller's own context ended is besides context.Canceled or context.DeadlineExceeded for errors.Is.
type Error struct {
	// Code is gRPC's, for what a program does next.
	Code codes.Code
	// Reason is stable, upper-case, one page each under docs/errors in voicebridge's repository, e.g. CALL_NOT_FOUND.
	// Empty when the answer was not voicebridge's own: a broken connection, a deadline, a proxy.
	Reason string
	// Message is one sentence for a person, free of secrets and personal data.
	Message string
	// Metadata is what came with the reason, e.g. "field" and "rule" with INVALID_ARGUMENT.
	Metadata map[string]string
	// Violations are the fields of the request that break a rule, with INVALID_ARGUMENT.
	Violations []FieldViolation
	// RetryDelay is how long to wait at least before asking again; 0 if nothing was said of it. [Client.Follow] keeps to it.
	RetryDelay time.Duration

	cause error
}

// FieldViolation is a field of a request that breaks a rule.
type FieldViolation struct {
	// Field is its path, e.g. "agent.instructions".
	Field string
	// Rule is what it must be, e.g. "must be at most 32768 bytes".
	Rule string
}

// Error says what happened and what to do next.
func (e *Error) Error() string {
	name := e.Reason
	if name == "" {
		name = e.Code.String()
	}
	return fmt.Sprintf("voicebridge: %s: %s (%s)", name, e.Message, e.NextStep())
}

// Unwrap is the error of the caller's context, or the status as gRPC gave it; nil for errors found on this side.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus makes status.Code and status.FromError work on an Error.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// NextStep is what to do now, in words: the reason's page, or advice by the code.
func (e *Error) NextStep() string {
	if e.Reason != "" {
		return "see docs/errors/" + e.Reason + ".md"
	}
	if errors.Is(e.cause, context.Canceled) {
		return "nothing to do: the context was cancelled on this side"
	}
	// Answers without a reason of voicebridge's come from the way there: the connection, a proxy, another server.
	switch e.Code {
	case codes.Unavailable:
		return "check that the control plane runs, that the URL names it, and http or https"
	case codes.DeadlineExceeded:
		return "check the network and the control plane's health, or allow more time"
	case codes.Canceled:
		return "something between here and the control plane gave up; try again"
	case codes.Unauthenticated:
		return "check the API key"
	case codes.PermissionDenied:
		return "check the API key and what a proxy in between allows"
	case codes.Unimplemented:
		return "check that the URL names a control plane, at least as new as this client"
	case codes.ResourceExhausted:
		return "a message is too large or a proxy in between limits requests"
	default:
		return "check that the URL names a control plane and that what is in between speaks HTTP/2"
	}
}

// fromRPC is the error that a failed RPC stands for, nil for nil. ctx is the caller's own.
func fromRPC(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ended(ctx.Err())
	}
	e := fromStatus(err)
	// The deadline goes along with the request, and the control plane may be the first to notice that it passed.
	if _, has := ctx.Deadline(); has && e.Code == codes.DeadlineExceeded {
		return ended(context.DeadlineExceeded)
	}
	return e
}

// ended is the error of a caller's context that is over.
func ended(cause error) *Error {
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{Code: codes.DeadlineExceeded, Message: "the caller's deadline passed", cause: cause}
	}
	return &Error{Code: codes.Canceled, Message: "cancelled by the caller", cause: cause}
}

func fromStatus(err error) *Error {
	received := status.Convert(err)
	e := &Error{Code: received.Code(), Message: received.Message(), cause: err}
	for _, detail := range received.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == errorDomain && e.Reason == "" {
				e.Reason, e.Metadata = detail.GetReason(), detail.GetMetadata()
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				e.Violations = append(e.Violations, FieldViolation{violation.GetField(), violation.GetDescription()})
			}
		case *errdetails.RetryInfo:
			e.RetryDelay = max(0, detail.GetRetryDelay().AsDuration())
		}
	}
	return e
}
