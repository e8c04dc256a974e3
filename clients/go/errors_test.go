package voicebridge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func withInfo(t *testing.T, domain string) error {
	t.Helper()
	info := &errdetails.ErrorInfo{Reason: "SDP_INVALID", Domain: domain, Metadata: map[string]string{"rule": "no-fingerprint"}}
	detailed, err := status.New(codes.InvalidArgument, "what happened").WithDetails(info)
	if err != nil {
		t.Fatal(err)
	}
	return detailed.Err()
}

func TestOurReasonComesWithItsMetadataAndItsPage(t *testing.T) {
	var found *Error
	if !errors.As(fmt.Errorf("wrapped: %w", fromStatus(withInfo(t, errorDomain))), &found) {
		t.Fatal("no *Error in it")
	}
	if found.Code != codes.InvalidArgument || found.Reason != "SDP_INVALID" || found.Metadata["rule"] != "no-fingerprint" {
		t.Errorf("%#v", found)
	}
	expected := "voicebridge: SDP_INVALID: what happened (see docs/errors/SDP_INVALID.md)"
	if found.Error() != expected {
		t.Errorf("%q, expected %q", found.Error(), expected)
	}
	if status.Code(found) != codes.InvalidArgument {
		t.Errorf("status.Code is %v", status.Code(found))
	}
}

func TestFieldsThatBreakARuleAndTheDelayComeWithTheError(t *testing.T) {
	violation := &errdetails.BadRequest_FieldViolation{Field: "agent.greeting", Description: "must be at most 2000 characters"}
	detailed, err := status.New(codes.InvalidArgument, "what happened").WithDetails(
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{violation}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	)
	if err != nil {
		t.Fatal(err)
	}
	found := fromStatus(detailed.Err())
	expected := []FieldViolation{{"agent.greeting", "must be at most 2000 characters"}}
	if !slices.Equal(found.Violations, expected) || found.RetryDelay != 1500*time.Millisecond {
		t.Errorf("%#v", found)
	}
	if bare := fromStatus(status.Error(codes.Unavailable, "gone")); bare.Violations != nil || bare.RetryDelay != 0 {
		t.Errorf("%#v", bare)
	}
}

func TestAStatusOfOtherOriginHasNoReasonButANextStep(t *testing.T) {
	for _, err := range []error{
		status.Error(codes.Unavailable, "gone"), errors.New("no status at all"), withInfo(t, "googleapis.com"),
	} {
		found := fromStatus(err)
		if found.Reason != "" || found.Metadata != nil {
			t.Errorf("%v has reason %q and metadata %v", err, found.Reason, found.Metadata)
		}
		if !strings.Contains(found.Error(), "(check ") {
			t.Errorf("no next step in %q", found.Error())
		}
	}
}

func TestEveryCodeHasANextStep(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if fromStatus(status.Error(code, "")).NextStep() == "" {
			t.Errorf("%v has none", code)
		}
	}
}
