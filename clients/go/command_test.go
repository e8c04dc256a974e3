package voicebridge

import (
	"context"
	"testing"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refusing answers commands with code as often as asked, then takes them; sent has the ids they came with.
func refusing(code codes.Code, times int, sent *[]string) func(
	*controlv1.SendCommandRequest,
) (*controlv1.SendCommandResponse, error) {
	return func(request *controlv1.SendCommandRequest) (*controlv1.SendCommandResponse, error) {
		*sent = append(*sent, request.GetCommandId())
		if len(*sent) <= times {
			return nil, status.Error(code, "not now")
		}
		return &controlv1.SendCommandResponse{CommandId: request.GetCommandId()}, nil
	}
}

func TestACommandIsSentUntilItIsAnsweredAndAlwaysWithTheSameID(t *testing.T) {
	p := startPlane(t, nil)
	var sent []string
	p.command = refusing(codes.Unavailable, 2, &sent)
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
		p.command = refusing(code, 99, &sent)
		_, err := client.Calls.SendCommand(t.Context(), &controlv1.SendCommandRequest{CallId: "a"})
		if failure(t, err).Code != code || len(sent) != times {
			t.Errorf("%v after %d", err, len(sent))
		}
	}
	// No time for a second one.
	var sent []string
	p.command = refusing(codes.Unavailable, 99, &sent)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Millisecond)
	defer cancel()
	if _, err := client.Calls.SendCommand(ctx, &controlv1.SendCommandRequest{CallId: "a"}); err == nil || len(sent) != 1 {
		t.Errorf("%v after %d", err, len(sent))
	}
}
