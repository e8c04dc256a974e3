package voicebridge

import (
	"context"
	"testing"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// refusing answers commands with refusal as often as asked, then takes them; sent has the ids they came with.
func refusing(refusal error, times int, sent *[]string) func(
	*controlv1.SendCommandRequest,
) (*controlv1.SendCommandResponse, error) {
	return func(request *controlv1.SendCommandRequest) (*controlv1.SendCommandResponse, error) {
		*sent = append(*sent, request.GetCommandId())
		if len(*sent) <= times {
			return nil, refusal
		}
		return &controlv1.SendCommandResponse{CommandId: request.GetCommandId()}, nil
	}
}

// notBefore is UNAVAILABLE with the delay to wait at least.
func notBefore(t *testing.T, delay time.Duration) error {
	t.Helper()
	detailed, err := status.New(codes.Unavailable, "not now").
		WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
	if err != nil {
		t.Fatal(err)
	}
	return detailed.Err()
}

func TestACommandIsSentUntilItIsAnsweredAndAlwaysWithTheSameID(t *testing.T) {
	p := startPlane(t, nil)
	var sent []string
	p.command = refusing(status.Error(codes.Unavailable, "not now"), 2, &sent)
	client := dial(t, p.url)
	request := &controlv1.SendCommandRequest{CallId: "a"}
	answer, err := client.Calls.SendCommand(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	id := answer.GetCommandId()
	if len(sent) != 3 || sent[0] != id || sent[1] != id || len(id) < 16 || len(id) > 64 {
		t.Errorf("sent %q, answered %q", sent, id)
	}
	if request.GetCommandId() != "" {
		t.Error("the message is the caller's")
	}
	named := &controlv1.SendCommandRequest{CallId: "a", CommandId: "mine"}
	if answer, err := client.Calls.SendCommand(t.Context(), named); err != nil || answer.GetCommandId() != "mine" {
		t.Errorf("%v, %v", answer, err)
	}
}

func TestACommandThatIsRefusedOrNeverAnsweredIsNotSentForEver(t *testing.T) {
	p := startPlane(t, nil)
	client := dial(t, p.url)
	for code, times := range map[codes.Code]int{codes.AlreadyExists: 1, codes.Unavailable: commandAttempts} {
		var sent []string
		p.command = refusing(status.Error(code, "not now"), 99, &sent)
		_, err := client.Calls.SendCommand(t.Context(), &controlv1.SendCommandRequest{CallId: "a"})
		if failure(t, err).Code != code || len(sent) != times {
			t.Errorf("%v after %d", err, len(sent))
		}
	}
}

func TestACommandIsSentAgainNoEarlierThanTheControlPlaneAsks(t *testing.T) {
	p := startPlane(t, nil)
	var sent []string
	// Longer than the first delay of this side's own ever is.
	const asked = 2 * delayFirst
	p.command = refusing(notBefore(t, asked), 1, &sent)
	began := time.Now()
	if _, err := dial(t, p.url).Calls.SendCommand(t.Context(), &controlv1.SendCommandRequest{CallId: "a"}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); len(sent) != 2 || took < asked {
		t.Errorf("sent %d times in %v, asked for %v", len(sent), took, asked)
	}
}

func TestACommandFailsAtOnceIfItsDeadlineComesBeforeItMayBeSentAgain(t *testing.T) {
	p := startPlane(t, nil)
	client := dial(t, p.url, WithTimeout(patience))
	// Of the context, or of the client.
	for _, own := range []bool{true, false} {
		var sent []string
		p.command = refusing(notBefore(t, time.Minute), 99, &sent)
		ctx := t.Context()
		if own {
			limited, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			ctx = limited
		}
		began := time.Now()
		_, err := client.Calls.SendCommand(ctx, &controlv1.SendCommandRequest{CallId: "a"})
		refused := failure(t, err)
		if refused.Code != codes.Unavailable || refused.RetryDelay != time.Minute || len(sent) != 1 {
			t.Errorf("context with a deadline %t: %v after %d", own, err, len(sent))
		}
		if took := time.Since(began); took > patience/2 {
			t.Errorf("context with a deadline %t: took %v", own, took)
		}
	}
}
