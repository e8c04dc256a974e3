package voicebridge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"

	"google.golang.org/grpc/codes"
)

func dial(t *testing.T, url string, options ...Option) *Client {
	t.Helper()
	client, err := Dial(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func failure(t *testing.T, err error) *Error {
	t.Helper()
	var found *Error
	if !errors.As(err, &found) {
		t.Fatalf("no *Error: %v", err)
	}
	return found
}

func TestAURLThatIsNoneIsRefusedByName(t *testing.T) {
	for url, problem := range map[string]string{
		"127.0.0.1:3100":    "not the URL",
		"ftp://host":        "not the URL",
		"http://":           "not the URL",
		"":                  "not the URL",
		"https://key@host":  "WithAPIKey",
		"http://host/api":   "no path",
		"http://host?key=1": "no path",
	} {
		if _, err := Dial(url); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %v, expected %q in it", url, err, problem)
		}
	}
	if _, err := Dial("http://127.0.0.1:3100", WithTLSConfig(&tls.Config{})); err == nil {
		t.Error("a TLS configuration without TLS is taken")
	}
}

func TestTheKeyGoesAlongAsABearerToken(t *testing.T) {
	p := startPlane(t, nil)
	p.get = found
	client := dial(t, p.url+"/", WithAPIKey("key-7"))
	answer, err := client.Calls.GetCall(t.Context(), &controlv1.GetCallRequest{CallId: "wacid.1"})
	if err != nil || answer.GetCall().GetCallId() != "wacid.1" {
		t.Fatalf("%v, %v", answer, err)
	}
	if key := p.requests()[0].Get("authorization"); len(key) != 1 || key[0] != "Bearer key-7" {
		t.Errorf("authorization is %q", key)
	}
}

func TestWithoutAKeyNothingIsSent(t *testing.T) {
	p := startPlane(t, nil)
	p.get = found
	client := dial(t, p.url, WithAPIKey(""))
	if _, err := client.Calls.GetCall(t.Context(), &controlv1.GetCallRequest{}); err != nil {
		t.Fatal(err)
	}
	if key := p.requests()[0].Get("authorization"); len(key) != 0 {
		t.Errorf("authorization is %q", key)
	}
}

func TestARequestHasADeadlineThatItMaySetItself(t *testing.T) {
	p := startPlane(t, nil)
	p.get = never
	_, err := dial(t, p.url, WithTimeout(50*time.Millisecond)).Calls.GetCall(t.Context(), &controlv1.GetCallRequest{})
	if code := failure(t, err).Code; code != codes.DeadlineExceeded {
		t.Errorf("code %v", code)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("the client's own deadline is taken for the caller's")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = dial(t, p.url, WithTimeout(time.Hour)).Calls.GetCall(ctx, &controlv1.GetCallRequest{})
	if failure(t, err).Code != codes.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
}

func TestAWaitMayTakeAsMuchLongerAsItIsToWait(t *testing.T) {
	p := startPlane(t, nil)
	left := make(chan time.Duration, 1)
	p.wait = func(ctx context.Context, _ *controlv1.WaitForSessionRequest) (*controlv1.WaitForSessionResponse, error) {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
		return &controlv1.WaitForSessionResponse{}, nil
	}
	client := dial(t, p.url, WithTimeout(time.Hour))
	if _, err := client.Calls.WaitForSession(t.Context(), &controlv1.WaitForSessionRequest{TimeoutMs: 30_000}); err != nil {
		t.Fatal(err)
	}
	if found := <-left; found <= time.Hour || found > time.Hour+30*time.Second {
		t.Errorf("%v are left, expected an hour and half a minute", found)
	}
}

func TestCancellingARequestCancelsItAtTheControlPlane(t *testing.T) {
	p := startPlane(t, nil)
	begun, gone := make(chan struct{}), make(chan struct{})
	p.get = func(ctx context.Context, _ *controlv1.GetCallRequest) (*controlv1.GetCallResponse, error) {
		close(begun)
		<-ctx.Done()
		close(gone)
		return nil, ctx.Err()
	}
	client := dial(t, p.url)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	_, err := client.Calls.GetCall(ctx, &controlv1.GetCallRequest{})
	if failure(t, err).Code != codes.Canceled || !errors.Is(err, context.Canceled) ||
		!strings.Contains(err.Error(), "on this side") {
		t.Errorf("ended with %v", err)
	}
	soon(t, "the control plane to notice", gone)
}

func TestAControlPlaneThatIsAwayIsOneErrorWithANextStep(t *testing.T) {
	// Port 1 of loopback: reserved (RFC 6335), and nothing here listens on it.
	client := dial(t, "http://127.0.0.1:1")
	_, err := client.Calls.GetCall(t.Context(), &controlv1.GetCallRequest{})
	for _, streamed := range client.Follow(t.Context(), &controlv1.StreamEventsRequest{}, MaxAttempts(1)).Events() {
		for _, err := range []error{err, streamed} {
			away := failure(t, err)
			if away.Code != codes.Unavailable || !strings.Contains(err.Error(), "check that the control plane runs") {
				t.Errorf("%v", err)
			}
		}
		return
	}
	t.Error("the stream ended without an error")
}

func TestTLSByTheURLWithAuthoritiesOfOnesOwn(t *testing.T) {
	certificate, authorities := selfSigned(t)
	p := startPlane(t, certificate)
	p.get = found
	trusting := dial(t, p.url, WithTLSConfig(&tls.Config{RootCAs: authorities}))
	if _, err := trusting.Calls.GetCall(t.Context(), &controlv1.GetCallRequest{}); err != nil {
		t.Error(err)
	}
	_, err := dial(t, p.url).Calls.GetCall(t.Context(), &controlv1.GetCallRequest{})
	if code := failure(t, err).Code; code != codes.Unavailable {
		t.Errorf("an unknown authority: %v", err)
	}
}

func selfSigned(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(parsed)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authorities
}
