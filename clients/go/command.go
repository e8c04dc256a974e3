package voicebridge

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"

	"google.golang.org/protobuf/proto"
)

// commandAttempts is how often a command is sent: it is carried out once by its id, so it may be sent until it is answered.
const commandAttempts = 3

// identified is a command with an id, chosen here if it has none. The caller's own message stays as it is.
func identified(request *controlv1.SendCommandRequest) *controlv1.SendCommandRequest {
	if request.GetCommandId() != "" {
		return request
	}
	request = proto.CloneOf(request)
	request.CommandId = rand.Text()
	return request
}

// sendUntilAnswered sends a command again while that may help and its context lasts. A pause that ends after the context's
// deadline is not begun: nothing could come of it.
func sendUntilAnswered(ctx context.Context, send func() error) error {
	for sent := 1; ; sent++ {
		err := send()
		if err == nil {
			return nil
		}
		failure := typed(err)
		if sent == commandAttempts || !heals(failure.Code) {
			return err
		}
		pause := delay(sent, mathrand.Float64(), failure.RetryDelay)
		if deadline, has := ctx.Deadline(); has && pause >= time.Until(deadline) {
			return err
		}
		if sleep(ctx, pause) != nil {
			return err
		}
	}
}
