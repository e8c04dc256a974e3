package voicebridge

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

func TestDelaysDoubleUpToTenSecondsAndAreSpreadOverTheirUpperHalf(t *testing.T) {
	for _, row := range []struct {
		failures int
		drawn    float64
		asked    time.Duration
		expected time.Duration
	}{
		{1, 0, 0, 100 * time.Millisecond},
		{1, 1, 0, 200 * time.Millisecond},
		{2, 0, 0, 200 * time.Millisecond},
		{3, 0.5, 0, 600 * time.Millisecond},
		{6, 0, 0, 3200 * time.Millisecond},
		{7, 0, 0, 5 * time.Second},
		{7, 1, 0, 10 * time.Second},
		{5000, 1, 0, 10 * time.Second},
		{1, 1, time.Second, time.Second},
		{7, 1, time.Second, 10 * time.Second},
		{1, 0, time.Hour, time.Minute},
	} {
		if found := delay(row.failures, row.drawn, row.asked); found != row.expected {
			t.Errorf("delay(%d, %g, %v) is %v, expected %v", row.failures, row.drawn, row.asked, found, row.expected)
		}
	}
}

func TestEveryCodeEitherHealsOrDoesNot(t *testing.T) {
	var healing []codes.Code
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		if heals(code) {
			healing = append(healing, code)
		}
	}
	expected := []codes.Code{
		codes.Canceled, codes.Unknown, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Internal,
		codes.Unavailable,
	}
	if !slices.Equal(healing, expected) {
		t.Errorf("%v heal, expected %v", healing, expected)
	}
}
