package voicebridge

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// What only this language has to show about streams. All else is in the scenarios that every client is tested by.

func TestLeavingTheLoopFreesTheConnectionAndAnotherLoopGoesOn(t *testing.T) {
	p := startPlane(t, nil)
	gone := make(chan struct{}, 2)
	p.stream = endless(3, gone)
	stream := dial(t, p.url).Follow(t.Context(), &controlv1.StreamEventsRequest{CallId: "a"})
	for event, err := range stream.Events() {
		if err != nil {
			t.Fatal(err)
		}
		if event.GetSequence() == 2 {
			break
		}
	}
	soon(t, "the connection to be closed", gone)
	if stream.Cursor() != "c.." {
		t.Errorf("cursor %q", stream.Cursor())
	}

	var begunAt string
	p.stream = func(responses grpc.ServerStreamingServer[controlv1.StreamEventsResponse]) error {
		begunAt = stream.Cursor()
		return responses.Send(&controlv1.StreamEventsResponse{Cursor: "end"})
	}
	for event, err := range stream.Events() {
		t.Errorf("%v, %v", event, err)
	}
	if begunAt != "c.." || stream.Cursor() != "end" {
		t.Errorf("begun at %q, ended at %q", begunAt, stream.Cursor())
	}
}

func TestTheContextEndsAStreamThatWaitsToConnectAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := dial(t, "http://127.0.0.1:1")
	stream := client.Follow(ctx, &controlv1.StreamEventsRequest{},
		// The delay itself is waited for by the real clock.
		WithRandom(func() float64 { return 1 }),
		OnRetry(func(err *Error, delay time.Duration) {
			if err.Code != codes.Unavailable || delay != delayFirst {
				t.Errorf("told of %v and %v", err, delay)
			}
			cancel()
		}))
	for _, err := range stream.Events() {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		return
	}
	t.Error("ended without an error")
}

func TestACancelledStreamDeliversNothingMore(t *testing.T) {
	p := startPlane(t, nil)
	gone := make(chan struct{}, 1)
	p.stream = endless(100, gone)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := dial(t, p.url).Follow(ctx, &controlv1.StreamEventsRequest{CallId: "a"})
	var last error
	read := 0
	for _, err := range stream.Events() {
		if err != nil {
			last = err
			continue
		}
		read++
		cancel()
	}
	if read != 1 || !errors.Is(last, context.Canceled) || stream.Cursor() != "c." {
		t.Errorf("read %d events up to %q and ended with %v", read, stream.Cursor(), last)
	}
	soon(t, "the connection to be closed", gone)
}

func TestTheRequestGivenStaysAsItIs(t *testing.T) {
	p := startPlane(t, nil)
	p.stream = func(responses grpc.ServerStreamingServer[controlv1.StreamEventsResponse]) error {
		return responses.Send(&controlv1.StreamEventsResponse{Cursor: "c"})
	}
	request := &controlv1.StreamEventsRequest{CallId: "a"}
	stream := dial(t, p.url).Follow(t.Context(), request)
	for _, err := range stream.Events() {
		t.Error(err)
	}
	if stream.Cursor() != "c" || request.GetCursor() != "" {
		t.Errorf("cursors %q and %q", stream.Cursor(), request.GetCursor())
	}
}

func TestASlowReaderIsNoSilence(t *testing.T) {
	const interval = 300 * time.Millisecond
	p := startPlane(t, nil)
	p.stream = func(responses grpc.ServerStreamingServer[controlv1.StreamEventsResponse]) error {
		for _, response := range []*controlv1.StreamEventsResponse{
			{Cursor: "c", KeepaliveIntervalMs: uint32(interval.Milliseconds())},
			{Cursor: "c.", Event: &Event{Sequence: 1}},
			{Cursor: "c..", Event: &Event{Sequence: 2}},
		} {
			if err := responses.Send(response); err != nil {
				return err
			}
		}
		return nil
	}
	stream := dial(t, p.url).Follow(t.Context(), &controlv1.StreamEventsRequest{CallId: "a"})
	var read []uint64
	for event, err := range stream.Events() {
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, event.GetSequence())
		// The reader is busy for longer than a connection may be silent.
		time.Sleep(5 * interval)
	}
	if !slices.Equal(read, []uint64{1, 2}) || len(p.requests()) != 1 {
		t.Errorf("read %v over %d connections", read, len(p.requests()))
	}
}
