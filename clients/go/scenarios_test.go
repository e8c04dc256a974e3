package voicebridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"
	typesv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/types/v1"

	"google.golang.org/grpc/codes"
)

// The scenarios that the clients of every language are tested by (tests/clients/README.md): what happens to a stream, and
// what a client that resumes by itself makes of it.

const scenarioHangs = 30 * time.Second

type scenario struct {
	Request struct {
		CallID             string   `json:"call_id"`
		Cursor             string   `json:"cursor"`
		Start              string   `json:"start"`
		Kinds              []string `json:"kinds"`
		PhoneNumberIDs     []string `json:"phone_number_ids"`
		CallerPhoneNumbers []string `json:"caller_phone_numbers"`
	} `json:"request"`
	Settings struct {
		Random             []float64 `json:"random"`
		MaxAttempts        int       `json:"max_attempts"`
		CancelAfter        int       `json:"cancel_after"`
		DeadlineMs         int       `json:"deadline_ms"`
		AssumedKeepaliveMs int       `json:"assumed_keepalive_ms"`
	} `json:"settings"`
	Connections []json.RawMessage `json:"connections"`
	Delivered   []string          `json:"delivered"`
	End         json.RawMessage   `json:"end"`
	Cursor      string            `json:"cursor"`
	DelaysMs    []float64         `json:"delays_ms"`
}

func (s *scenario) request() *controlv1.StreamEventsRequest {
	request := &controlv1.StreamEventsRequest{
		CallId:             s.Request.CallID,
		Cursor:             s.Request.Cursor,
		PhoneNumberIds:     s.Request.PhoneNumberIDs,
		CallerPhoneNumbers: s.Request.CallerPhoneNumbers,
	}
	if s.Request.Start != "" {
		request.Start = controlv1.StreamStart(controlv1.StreamStart_value["STREAM_START_"+s.Request.Start])
	}
	for _, kind := range s.Request.Kinds {
		request.Kinds = append(request.Kinds, typesv1.EventKind(typesv1.EventKind_value["EVENT_KIND_"+kind]))
	}
	return request
}

// expectedEnd is the end as playScenario words it.
func (s *scenario) expectedEnd(t *testing.T) string {
	var word string
	if json.Unmarshal(s.End, &word) == nil {
		return word
	}
	var failure struct{ Code, Reason string }
	if err := json.Unmarshal(s.End, &failure); err != nil {
		t.Fatal(err)
	}
	return failure.Code + " " + failure.Reason
}

func TestScenarios(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(repository(), "tests/clients/scenarios/*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	var server struct {
		URL string `json:"url"`
	}
	running(t, &server, "voicebridge-scenarios")
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			var s scenario
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			playScenario(t, server.URL, name, &s)
		})
	}
}

func playScenario(t *testing.T, server, name string, s *scenario) {
	var run struct {
		Run    uint64 `json:"run"`
		URL    string `json:"url"`
		APIKey string `json:"api_key"`
	}
	post(t, server+"/runs", map[string]string{"scenario": name}, &run)
	client, err := Dial(run.URL, WithAPIKey(run.APIKey))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	notes := notes{settings: s}
	ctx, cancel := context.WithTimeout(t.Context(), scenarioHangs)
	if s.Settings.DeadlineMs != 0 {
		ctx, cancel = context.WithTimeout(t.Context(), time.Duration(s.Settings.DeadlineMs)*time.Millisecond)
	}
	defer cancel()
	notes.cancel = cancel
	options := []FollowOption{
		MaxAttempts(s.Settings.MaxAttempts), OnLagged(notes.lagged), WithSleep(notes.sleep), WithRandom(notes.random),
	}
	if s.Settings.AssumedKeepaliveMs != 0 {
		options = append(options, AssumedKeepalive(time.Duration(s.Settings.AssumedKeepaliveMs)*time.Millisecond))
	}
	stream := client.Follow(ctx, s.request(), options...)
	end := "complete"
	for event, err := range stream.Events() {
		if err != nil {
			end = describeEnd(t, err)
		} else {
			notes.event(event)
		}
	}
	var report struct {
		Connections int      `json:"connections"`
		Violations  []string `json:"violations"`
	}
	post(t, fmt.Sprintf("%s/runs/%d/end", server, run.Run), nil, &report)

	for _, violation := range report.Violations {
		t.Error(violation)
	}
	if !slices.Equal(notes.delivered, s.Delivered) {
		t.Errorf("delivered %q, expected %q", notes.delivered, s.Delivered)
	}
	if expected := s.expectedEnd(t); end != expected {
		t.Errorf("ended with %q, expected %q", end, expected)
	}
	if stream.Cursor() != s.Cursor {
		t.Errorf("cursor %q, expected %q", stream.Cursor(), s.Cursor)
	}
	if !slices.EqualFunc(notes.delaysMs, s.DelaysMs, func(a, b float64) bool { return math.Abs(a-b) < 0.001 }) {
		t.Errorf("delays of %v ms, expected %v", notes.delaysMs, s.DelaysMs)
	}
	if report.Connections != len(s.Connections) {
		t.Errorf("%d connections, expected %d", report.Connections, len(s.Connections))
	}
}

// notes are what the user of a stream would see of it.
type notes struct {
	settings  *scenario
	delivered []string
	delaysMs  []float64
	drawn     int
	cancel    context.CancelFunc
}

func (n *notes) note(line string) {
	n.delivered = append(n.delivered, line)
	if len(n.delivered) == n.settings.Settings.CancelAfter {
		n.cancel()
	}
}

func (n *notes) lagged(transientMissed uint64) { n.note(fmt.Sprintf("lagged %d", transientMissed)) }

func (n *notes) event(event *Event) {
	kind := typesv1.EventKind_EVENT_KIND_UNSPECIFIED
	message := event.ProtoReflect()
	if field := message.WhichOneof(message.Descriptor().Oneofs().ByName("kind")); field != nil {
		kind = typesv1.EventKind(field.Number())
	}
	name := strings.TrimPrefix(kind.String(), "EVENT_KIND_")
	n.note(fmt.Sprintf("event %s %d %s", event.GetCallId(), event.GetSequence(), name))
}

func (n *notes) sleep(_ context.Context, delay time.Duration) error {
	n.delaysMs = append(n.delaysMs, float64(delay)/float64(time.Millisecond))
	return nil
}

func (n *notes) random() float64 {
	random := n.settings.Settings.Random
	if len(random) == 0 {
		return 0.5
	}
	n.drawn++
	return random[(n.drawn-1)%len(random)]
}

func describeEnd(t *testing.T, err error) string {
	var failure *Error
	if !errors.As(err, &failure) {
		t.Fatalf("an error of another type: %v", err)
	}
	if failure.NextStep() == "" {
		t.Errorf("no next step in %v", err)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	default:
		return wireName(failure.Code) + " " + failure.Reason
	}
}

// wireName is a code by its name in the specification of gRPC, e.g. NOT_FOUND for NotFound.
func wireName(code codes.Code) string {
	var name strings.Builder
	for i, letter := range code.String() {
		if i > 0 && letter >= 'A' && letter <= 'Z' {
			name.WriteByte('_')
		}
		name.WriteRune(letter)
	}
	// The one word that Go spells differently.
	return strings.Replace(strings.ToUpper(name.String()), "CANCELED", "CANCELLED", 1)
}
