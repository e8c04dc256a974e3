package voicebridge

import (
	"context"
	"crypto/tls"
	"time"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// DefaultTimeout is how long a request may take, connecting included, unless its context or [WithTimeout] says otherwise.
// WaitForSession may take as much longer as it is to wait.
const DefaultTimeout = 10 * time.Second

// Client is a control plane, seen from outside. Safe for concurrent use. Every request returns an [*Error] if it fails.
type Client struct {
	// Calls starts, steers, ends and looks up calls. A command without a CommandId is given one, and is sent again within its
	// deadline when it is not answered: the call takes it once. To follow events use [Client.Follow] rather than Calls.StreamEvents,
	// which is the bare stream of one connection.
	Calls controlv1.CallServiceClient
	// Keys makes and revokes API keys; wants scope admin.
	Keys controlv1.KeyServiceClient
	// Fleet sees and drains media nodes; wants scope nodes.
	Fleet controlv1.FleetServiceClient
	// Server tells which contract and program the control plane is.
	Server controlv1.ServerServiceClient

	at         endpoint
	key        string
	connection *grpc.ClientConn
}

type settings struct {
	key     string
	timeout time.Duration
	tls     *tls.Config
}

// Option is a setting of [Dial].
type Option func(*settings)

// WithAPIKey sends one of the control plane's keys, or a read token, with every request. Empty: a control plane on this
// machine is shown the local key of its user, which is what one wants that was given no other, and no other machine is shown
// any.
func WithAPIKey(key string) Option { return func(s *settings) { s.key = key } }

// WithTimeout is the deadline of requests whose context has none, instead of [DefaultTimeout].
func WithTimeout(timeout time.Duration) Option { return func(s *settings) { s.timeout = timeout } }

// WithTLSConfig replaces the default configuration for https URLs, e.g. with authorities of one's own.
func WithTLSConfig(config *tls.Config) Option { return func(s *settings) { s.tls = config } }

// Dial makes a client of the control plane at http://host:port or, with TLS, https://host. It connects when first used; its
// errors are about the URL, the options and the local key only.
func Dial(url string, options ...Option) (*Client, error) {
	s := settings{timeout: DefaultTimeout}
	for _, option := range options {
		option(&s)
	}
	at, err := parseEndpoint(url, s.tls)
	if err != nil {
		return nil, err
	}
	if s.key == "" {
		if s.key, err = localKey(url); err != nil {
			return nil, err
		}
	}
	client := &Client{at: at, key: s.key}
	client.connection, err = at.connect(
		grpc.WithChainUnaryInterceptor(client.unary(s.timeout)),
		grpc.WithChainStreamInterceptor(client.stream),
	)
	if err != nil {
		return nil, err
	}
	client.Calls = controlv1.NewCallServiceClient(client.connection)
	client.Keys = controlv1.NewKeyServiceClient(client.connection)
	client.Fleet = controlv1.NewFleetServiceClient(client.connection)
	client.Server = controlv1.NewServerServiceClient(client.connection)
	return client, nil
}

// Close ends requests under way and closes their connection. Streams of [Client.Follow] have their own and live on: they
// end with their context.
func (c *Client) Close() error { return c.connection.Close() }

// unary gives every request the key, a deadline, and errors of our own type on the way back.
func (c *Client) unary(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, answer any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker,
		options ...grpc.CallOption,
	) error {
		limited := c.authorized(ctx)
		if _, has := ctx.Deadline(); !has {
			allowed := timeout
			if waits, ok := request.(*controlv1.WaitForSessionRequest); ok {
				allowed += time.Duration(waits.GetTimeoutMs()) * time.Millisecond
			}
			var cancel context.CancelFunc
			limited, cancel = context.WithTimeout(limited, allowed)
			defer cancel()
		}
		send := func(request any) error {
			return fromRPC(ctx, invoke(limited, method, request, answer, connection, options...))
		}
		if command, is := request.(*controlv1.SendCommandRequest); is {
			command = identified(command)
			return sendUntilAnswered(limited, func() error { return send(command) })
		}
		return send(request)
	}
}

func (c *Client) stream(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string, open grpc.Streamer,
	options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return open(c.authorized(ctx), description, connection, method, options...)
}

func (c *Client) authorized(ctx context.Context) context.Context {
	if c.key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.key)
}
