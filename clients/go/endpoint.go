package voicebridge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const (
	// A connection that died without a word is noticed by the first request over it, before that request's own deadline.
	keepaliveAfter    = 30 * time.Second
	keepalivePatience = 5 * time.Second

	// gRPC's own pauses between attempts to connect grow to two minutes; a restarted control plane must not wait for them.
	reconnectFirst   = 200 * time.Millisecond
	reconnectMax     = 5 * time.Second
	reconnectTimeout = 10 * time.Second
)

var ports = map[string]string{"http": "80", "https": "443"}

// endpoint is a control plane's address. TLS for https, plain HTTP/2 for http.
type endpoint struct {
	target      string
	credentials credentials.TransportCredentials
}

func parseEndpoint(text string, config *tls.Config) (endpoint, error) {
	parts, err := url.Parse(text)
	if err != nil || ports[parts.Scheme] == "" || parts.Hostname() == "" {
		return endpoint{}, fmt.Errorf("voicebridge: not the URL of a control plane: %q; it is like http://127.0.0.1:3100", text)
	}
	if parts.User != nil {
		return endpoint{}, errors.New("voicebridge: the URL of a control plane has no user in it; the key goes into WithAPIKey")
	}
	if strings.Trim(parts.Path, "/") != "" || parts.RawQuery != "" || parts.Fragment != "" {
		return endpoint{}, fmt.Errorf("voicebridge: the URL of a control plane has no path: %q; gRPC is served at the root", text)
	}
	port := parts.Port()
	if port == "" {
		port = ports[parts.Scheme]
	}
	at := endpoint{target: "dns:///" + net.JoinHostPort(parts.Hostname(), port)}
	switch {
	case parts.Scheme == "https":
		at.credentials = credentials.NewTLS(config)
	case config != nil:
		return endpoint{}, errors.New("voicebridge: WithTLSConfig is for https URLs")
	default:
		at.credentials = insecure.NewCredentials()
	}
	return at, nil
}

// connect makes a connection of its own, which is opened when first used.
func (at endpoint) connect(more ...grpc.DialOption) (*grpc.ClientConn, error) {
	pauses := backoff.DefaultConfig
	pauses.BaseDelay, pauses.MaxDelay = reconnectFirst, reconnectMax
	return grpc.NewClient(at.target, append(more,
		grpc.WithTransportCredentials(at.credentials),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveAfter, Timeout: keepalivePatience}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: pauses, MinConnectTimeout: reconnectTimeout}),
	)...)
}
