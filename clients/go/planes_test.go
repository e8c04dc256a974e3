package voicebridge

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// Against real planes (tests/clients/README.md, the stage): a call with audio both ways, and requests that are refused.

const callLasts = 120 * time.Second

// stage is the whole system, and means to disturb it.
type stage struct {
	URL        string `json:"url"`
	ControlURL string `json:"control_url"`
	APIKey     string `json:"api_key"`
}

type aboutCall struct {
	CallID string `json:"call_id"`
}

type callRecord struct {
	Heard, Understood, Violations []string
	Reason                        string
}

func startStage(t *testing.T) *stage {
	t.Helper()
	var s stage
	running(t, &s, "voicebridge-stage")
	return &s
}

func (s *stage) dial(t *testing.T) *Client { return dial(t, s.ControlURL, WithAPIKey(s.APIKey)) }

func (s *stage) call(t *testing.T) aboutCall {
	t.Helper()
	var about aboutCall
	post(t, s.URL+"/call", nil, &about)
	return about
}

func (s *stage) record(t *testing.T, about aboutCall) callRecord {
	t.Helper()
	var record callRecord
	post(t, s.URL+"/record", about, &record)
	return record
}

// endedCall is one that somebody made and gave up at once.
func (s *stage) endedCall(t *testing.T) string {
	t.Helper()
	about := s.call(t)
	post(t, s.URL+"/hang-up", about, &struct{}{})
	s.record(t, about)
	return about.CallID
}

func (s *stage) stored(t *testing.T, callID string) []*Event {
	t.Helper()
	var answer struct{ Events []string }
	post(t, s.URL+"/events", aboutCall{callID}, &answer)
	var events []*Event
	for _, encoded := range answer.Events {
		binary, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		event := &Event{}
		if err := proto.Unmarshal(binary, event); err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

func assertDurable(t *testing.T, events, stored []*Event) {
	t.Helper()
	durable := slices.DeleteFunc(slices.Clone(events), func(event *Event) bool { return event.GetSequence() == 0 })
	if !slices.EqualFunc(durable, stored, func(a, b *Event) bool { return proto.Equal(a, b) }) {
		t.Errorf("%d durable events, %d stored: %v\n%v", len(durable), len(stored), durable, stored)
	}
	if len(stored) == 0 {
		t.Error("nothing is stored")
	}
}

func TestACallIsFollowedFromStartToEndThroughACutAndARestart(t *testing.T) {
	s := startStage(t)
	about := s.call(t)
	// At each transcript, in turn: the greeting, the question, the answer.
	disturbances := []struct {
		path string
		body any
	}{{"/cut", nil}, {"/restart", map[string]string{"by": "kill"}}, {"/hang-up", about}}
	var disturbing sync.WaitGroup
	var events []*Event
	broken := 0
	ctx, cancel := context.WithTimeout(t.Context(), callLasts)
	defer cancel()
	stream := s.dial(t).Follow(ctx, &controlv1.StreamEventsRequest{CallId: about.CallID},
		OnRetry(func(*Error, time.Duration) { broken++ }))
	for event, err := range stream.Events() {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
		if event.GetTranscript() != nil {
			if len(disturbances) == 0 {
				t.Fatalf("a transcript too many: %v", event)
			}
			next := disturbances[0]
			disturbances = disturbances[1:]
			disturbing.Go(func() {
				if err := ask(s.URL+next.path, next.body, &struct{}{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	disturbing.Wait()
	record := s.record(t, about)

	if len(disturbances) != 0 || broken < 2 {
		t.Errorf("%d disturbances are left, %d times broken", len(disturbances), broken)
	}
	if !slices.Equal(record.Heard, []string{"welcome", "open-from-nine"}) ||
		!slices.Equal(record.Understood, []string{"opening-hours"}) || len(record.Violations) != 0 ||
		record.Reason != "USER_HANGUP" {
		t.Errorf("%+v", record)
	}
	assertDurable(t, events, s.stored(t, about.CallID))
	if events[len(events)-1].GetCallEnded() == nil {
		t.Errorf("the last event is %v", events[len(events)-1])
	}
}

func TestAllCallsAreFollowedFromACursorOfBefore(t *testing.T) {
	s := startStage(t)
	client := s.dial(t)
	ctx, cancel := context.WithTimeout(t.Context(), callLasts)
	defer cancel()
	// until reads until the end of a call and gives all events read.
	until := func(stream *EventStream) []*Event {
		var events []*Event
		for event, err := range stream.Events() {
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, event)
			if event.GetCallEnded() != nil {
				break
			}
		}
		return events
	}
	first := s.endedCall(t)
	stream := client.Follow(ctx, &controlv1.StreamEventsRequest{Start: controlv1.StreamStart_STREAM_START_OLDEST})
	assertDurable(t, until(stream), s.stored(t, first))
	second := s.endedCall(t)
	later := until(client.Follow(ctx, &controlv1.StreamEventsRequest{Cursor: stream.Cursor()}))
	assertDurable(t, later, s.stored(t, second))
}

func TestWhatIsRefusedIsOneErrorWithAReasonAndANextStep(t *testing.T) {
	s := startStage(t)
	known, other := s.endedCall(t), s.endedCall(t)
	longID := strings.Repeat("w", 10_240)
	client := s.dial(t)
	stranger := dial(t, s.ControlURL, WithAPIKey("another key"))
	ctx, cancel := context.WithTimeout(t.Context(), callLasts)
	defer cancel()

	follow := func(client *Client, callID, cursor string) (string, error) {
		stream := client.Follow(ctx, &controlv1.StreamEventsRequest{CallId: callID, Cursor: cursor})
		for _, err := range stream.Events() {
			if err != nil {
				return "", err
			}
		}
		return stream.Cursor(), nil
	}
	get := func(client *Client, callID string) error {
		_, err := client.Calls.GetCall(ctx, &controlv1.GetCallRequest{CallId: callID})
		return err
	}
	following := func(client *Client, callID, cursor string) error {
		_, err := follow(client, callID, cursor)
		return err
	}

	cursor, err := follow(client, known, "")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := follow(client, known, cursor); again != cursor || err != nil {
		t.Errorf("%q, %v; expected %q", again, err, cursor)
	}
	for _, refusal := range []struct {
		name   string
		err    error
		code   codes.Code
		reason string
	}{
		{"the cursor of another call", following(client, other, cursor), codes.InvalidArgument, "CURSOR_INVALID"},
		{"no cursor at all", following(client, other, "nonsense"), codes.InvalidArgument, "CURSOR_INVALID"},
		{"events of no call", following(client, "wacid.nobody", ""), codes.NotFound, "CALL_NOT_FOUND"},
		{"events of a long id", following(client, longID, ""), codes.InvalidArgument, "INVALID_ARGUMENT"},
		{"no call", get(client, "wacid.nobody"), codes.NotFound, "CALL_NOT_FOUND"},
		{"a long id", get(client, longID), codes.InvalidArgument, "INVALID_ARGUMENT"},
		{"events by a wrong key", following(stranger, known, ""), codes.Unauthenticated, "UNAUTHENTICATED"},
		{"a call by a wrong key", get(stranger, known), codes.Unauthenticated, "UNAUTHENTICATED"},
	} {
		var found *Error
		if !errors.As(refusal.err, &found) || found.Code != refusal.code || found.Reason != refusal.reason {
			t.Errorf("%s: %v", refusal.name, refusal.err)
		} else if !strings.Contains(found.Error(), "docs/errors/"+refusal.reason+".md") {
			t.Errorf("%s: no next step in %v", refusal.name, found)
		}
	}
}
