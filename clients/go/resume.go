package voicebridge

import (
	"time"

	"google.golang.org/grpc/codes"
)

// What a stream that resumes by itself decides: the table in the comment of StreamEvents, without any IO.

const (
	delayFirst = 200 * time.Millisecond
	delayMax   = 10 * time.Second
	// The server may ask for longer delays than ours, up to this one.
	askedDelayMax = time.Minute
	// So many keepalive intervals without a response mean that the connection is dead.
	keepalivesMissed = 3
	// Past this the delay stays the same; more would only overflow.
	doublingsMax = 16
)

// heals tells whether connecting again may help after the server, or the way to it, ended a stream with code.
func heals(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.Unknown, codes.Internal, codes.Aborted, codes.DeadlineExceeded, codes.ResourceExhausted,
		codes.Canceled:
		return true
	default:
		return false
	}
}

// delay is how long to wait after so many failures in a row (from 1). drawn is evenly distributed over 0 to 1: the delay is
// between half of and the whole of what the failures ask for, and no shorter than the server asks for, which is asked.
func delay(failures int, drawn float64, asked time.Duration) time.Duration {
	whole := min(delayMax, delayFirst<<min(failures-1, doublingsMax))
	return max(whole/2+time.Duration(float64(whole/2)*drawn), min(asked, askedDelayMax))
}
