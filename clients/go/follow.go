package voicebridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// DefaultAssumedKeepalive is how often a stream is taken to bring something until the control plane says how often it does.
const DefaultAssumedKeepalive = 15 * time.Second

// EventStream is events in order, none lost or repeated; see [Client.Follow]. For one goroutine at a time.
type EventStream struct {
	ctx     context.Context
	connect func() (*grpc.ClientConn, error)
	request *controlv1.StreamEventsRequest
	options followOptions
	// How often the control plane sends something, as far as is known.
	keepalive time.Duration
}

type followOptions struct {
	maxAttempts int
	keepalive   time.Duration
	onLagged    func(transientMissed uint64)
	onRetry     func(err *Error, delay time.Duration)
	sleep       func(ctx context.Context, delay time.Duration) error
	random      func() float64
}

// FollowOption is a setting of [Client.Follow].
type FollowOption func(*followOptions)

// MaxAttempts ends the stream with the last error after so many connections in a row that brought no more than their first
// response. 0, the default: it tries for ever.
func MaxAttempts(attempts int) FollowOption {
	return func(o *followOptions) { o.maxAttempts = attempts }
}

// AssumedKeepalive stands for the control plane's keepalive interval until it is told: a connection that brings nothing for
// three times the interval is given up.
func AssumedKeepalive(interval time.Duration) FollowOption {
	return func(o *followOptions) { o.keepalive = interval }
}

// OnLagged is told how many transient events were left out because this side reads too slowly, before what comes after them.
func OnLagged(tell func(transientMissed uint64)) FollowOption {
	return func(o *followOptions) { o.onLagged = tell }
}

// OnRetry is told why the stream will connect again, and after how long.
func OnRetry(tell func(err *Error, delay time.Duration)) FollowOption {
	return func(o *followOptions) { o.onRetry = tell }
}

// WithSleep replaces the clock that delays are waited for by, for tests. It returns an error if ctx ends first.
func WithSleep(sleep func(ctx context.Context, delay time.Duration) error) FollowOption {
	return func(o *followOptions) { o.sleep = sleep }
}

// WithRandom replaces the source, evenly distributed over 0 to 1, that delays are drawn by, for tests.
func WithRandom(random func() float64) FollowOption {
	return func(o *followOptions) { o.random = random }
}

// Follow streams the events that request asks for: of one call, or of all calls if its CallId is empty; those stored after a
// point, then live ones.
//
// Whatever breaks in between, nothing durable is lost or repeated: it connects again by itself at the last cursor, after a
// delay. For one call it ends after the call's last event; over all calls it does not end. What does not heal (a wrong key,
// an unknown call, a cursor that is none) ends it with an [*Error], and so does the end of ctx.
func (c *Client) Follow(ctx context.Context, request *controlv1.StreamEventsRequest, options ...FollowOption) *EventStream {
	o := followOptions{keepalive: DefaultAssumedKeepalive, sleep: sleep, random: rand.Float64}
	for _, option := range options {
		option(&o)
	}
	return &EventStream{
		ctx:       c.authorized(ctx),
		connect:   func() (*grpc.ClientConn, error) { return c.at.connect() },
		request:   proto.CloneOf(request),
		options:   o,
		keepalive: o.keepalive,
	}
}

// Cursor is where the stream stands: everything durable up to here was handed over, the event at hand included. Give it as
// StreamEventsRequest.Cursor to go on from here, in another process or another week. Opaque, ASCII, at most 256 bytes; empty
// before the first response.
func (s *EventStream) Cursor() string { return s.request.GetCursor() }

var (
	errLeft   = errors.New("the loop was left")
	errSilent = errors.New("nothing came for too long")
)

// Events is for a range loop: an event and nil, or nil and an [*Error], which is the last thing to come. Leaving the loop
// closes the connection; another loop over the same stream goes on where this one was left.
func (s *EventStream) Events() iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		if err := s.run(func(event *Event) bool { return yield(event, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// run goes on until all was delivered or the loop was left (nil), or something does not heal.
func (s *EventStream) run(deliver func(*Event) bool) error {
	failures := 0 // since the last response that counts
	barren := 0   // connections in a row without one
	for s.ctx.Err() == nil {
		barren++
		err := s.attempt(func() { failures, barren = 0, 0 }, deliver)
		switch {
		case err == nil && s.request.GetCallId() != "", errors.Is(err, errLeft):
			return nil
		case err == nil:
			err = &Error{Code: codes.Unavailable, Message: "the control plane ended a stream without an end"}
		case s.ctx.Err() != nil:
			return ended(s.ctx.Err())
		}
		failure := typed(err)
		failures++
		if !heals(failure.Code) || s.options.maxAttempts > 0 && barren >= s.options.maxAttempts {
			return failure
		}
		pause := delay(failures, s.options.random(), failure.RetryDelay)
		if s.options.onRetry != nil {
			s.options.onRetry(failure, pause)
		}
		if err := s.options.sleep(s.ctx, pause); err != nil {
			return ended(err)
		}
	}
	return ended(s.ctx.Err())
}

// attempt delivers what one connection brings, until OK (nil), and calls alive for every response but the first. The
// connection is its own: one that died without a word would otherwise be taken for the next attempt too.
func (s *EventStream) attempt(alive func(), deliver func(*Event) bool) error {
	connection, err := s.connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	// Ends with the caller's context, but does not tell the server of its deadline: that is this side's affair alone, and
	// must not come back as a status of the server's.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(s.ctx))
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(s.ctx.Err()) })()
	silence := time.AfterFunc(s.patience(), func() { cancel(errSilent) })
	defer silence.Stop()

	responses, err := controlv1.NewCallServiceClient(connection).StreamEvents(ctx, s.request)
	if err != nil {
		return s.broken(ctx, err)
	}
	for first := true; ; first = false {
		response, err := responses.Recv()
		// However long the caller takes over an event is no silence of the server's.
		silence.Stop()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return s.broken(ctx, err)
		case s.ctx.Err() != nil:
			// It was on the way already; the caller wants no more.
			return s.ctx.Err()
		}
		if !first {
			alive()
		}
		if err := s.take(response, deliver); err != nil {
			return err
		}
		silence.Reset(s.patience())
	}
}

// take keeps what a response says and passes its event on.
func (s *EventStream) take(response *controlv1.StreamEventsResponse, deliver func(*Event) bool) error {
	if response.GetCursor() == "" {
		// Going on from an older one would repeat something, from none lose something.
		return &Error{Code: codes.DataLoss, Reason: "CURSOR_MISSING", Message: "a response has no cursor"}
	}
	if interval := response.GetKeepaliveIntervalMs(); interval > 0 {
		s.keepalive = time.Duration(interval) * time.Millisecond
	}
	repeated := response.GetCursor() == s.request.GetCursor() && response.GetEvent().GetSequence() != 0
	// Before the event is passed on: whoever keeps the cursor while holding the event has it covered.
	s.request.Cursor = response.GetCursor()
	if response.GetLagged() != nil && s.options.onLagged != nil {
		s.options.onLagged(response.GetLagged().GetTransientMissed())
	}
	if response.GetEvent() != nil && !repeated && !deliver(response.GetEvent()) {
		return errLeft
	}
	return nil
}

func (s *EventStream) patience() time.Duration { return keepalivesMissed * s.keepalive }

func (s *EventStream) broken(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return &Error{Code: codes.DeadlineExceeded, Message: fmt.Sprintf("no response for %v", s.patience())}
	}
	return fromStatus(err)
}

func typed(err error) *Error {
	var failure *Error
	if errors.As(err, &failure) {
		return failure
	}
	return fromStatus(err)
}

func sleep(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
