package voicebridge

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

// patience is for what takes milliseconds on an idle machine: generous, because a busy one must not fail a test.
const patience = 15 * time.Second

// plane is a control plane in this process that answers as a test tells it to.
type plane struct {
	controlv1.UnimplementedCallServiceServer
	url     string
	get     func(context.Context, *controlv1.GetCallRequest) (*controlv1.GetCallResponse, error)
	wait    func(context.Context, *controlv1.WaitForSessionRequest) (*controlv1.WaitForSessionResponse, error)
	command func(*controlv1.SendCommandRequest) (*controlv1.SendCommandResponse, error)
	stream  func(grpc.ServerStreamingServer[controlv1.StreamEventsResponse]) error

	mutex sync.Mutex
	asked []metadata.MD
}

func startPlane(t *testing.T, certificate *tls.Certificate) *plane {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{url: "http://" + listener.Addr().String()}
	var options []grpc.ServerOption
	if certificate != nil {
		p.url = "https://" + listener.Addr().String()
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(certificate)))
	}
	server := grpc.NewServer(options...)
	controlv1.RegisterCallServiceServer(server, p)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return p
}

func (p *plane) note(ctx context.Context) {
	asked, _ := metadata.FromIncomingContext(ctx)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.asked = append(p.asked, asked)
}

func (p *plane) requests() []metadata.MD {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.asked
}

func (p *plane) GetCall(ctx context.Context, request *controlv1.GetCallRequest) (*controlv1.GetCallResponse, error) {
	p.note(ctx)
	return p.get(ctx, request)
}

func (p *plane) SendCommand(
	_ context.Context, request *controlv1.SendCommandRequest,
) (*controlv1.SendCommandResponse, error) {
	return p.command(request)
}

func (p *plane) WaitForSession(
	ctx context.Context, request *controlv1.WaitForSessionRequest,
) (*controlv1.WaitForSessionResponse, error) {
	return p.wait(ctx, request)
}

func (p *plane) StreamEvents(
	_ *controlv1.StreamEventsRequest, responses grpc.ServerStreamingServer[controlv1.StreamEventsResponse],
) error {
	p.note(responses.Context())
	return p.stream(responses)
}

func found(_ context.Context, request *controlv1.GetCallRequest) (*controlv1.GetCallResponse, error) {
	return &controlv1.GetCallResponse{Call: &controlv1.Call{CallId: request.GetCallId()}}, nil
}

func never(ctx context.Context, _ *controlv1.GetCallRequest) (*controlv1.GetCallResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// endless brings so many events and then nothing; gone, which has room, is told when its client is.
func endless(events uint64, gone chan<- struct{}) func(grpc.ServerStreamingServer[controlv1.StreamEventsResponse]) error {
	return func(responses grpc.ServerStreamingServer[controlv1.StreamEventsResponse]) error {
		defer func() { gone <- struct{}{} }()
		first := &controlv1.StreamEventsResponse{Cursor: "c", KeepaliveIntervalMs: uint32(time.Hour.Milliseconds())}
		if err := responses.Send(first); err != nil {
			return err
		}
		cursor := "c"
		for sequence := range events {
			cursor += "."
			event := &Event{CallId: "a", Sequence: sequence + 1}
			if err := responses.Send(&controlv1.StreamEventsResponse{Cursor: cursor, Event: event}); err != nil {
				return err
			}
		}
		<-responses.Context().Done()
		return nil
	}
}

// soon receives from a channel that is about to be sent to.
func soon[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("not reached")
	}
}
