"""Where a control plane is, read once from its URL, and channels to it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc

_PORTS = {"http": 80, "https": 443}

# A connection that died without a word is noticed by the first request over it, before that request's own deadline.
KEEPALIVE_AFTER_MS = 30_000
KEEPALIVE_PATIENCE_MS = 5_000

# gRPC's own pauses between attempts to connect grow to two minutes; a restarted control plane must not wait for them.
RECONNECT_FIRST_MS = 200
RECONNECT_MAX_MS = 5_000


@dataclass(frozen=True)
class Endpoint:
    """A control plane's address. TLS for https, plain HTTP/2 for http."""

    target: str
    credentials: grpc.ChannelCredentials | None

    @classmethod
    def parse(cls, url: str, root_certificates: bytes | None) -> Endpoint:
        """Reads ``http://host[:port]`` or ``https://host[:port]``.

        Raises ``ValueError`` for anything else; the message names what is wrong.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"not the URL of a control plane: {url!r}; it is like http://127.0.0.1:3100")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL of a control plane has no user in it; the key goes into api_key")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"the URL of a control plane has no path: {url!r}; gRPC is served at the root")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        target = f"dns:///{host}:{parts.port or _PORTS[parts.scheme]}"
        if parts.scheme == "http":
            if root_certificates is not None:
                raise ValueError("root_certificates are for https URLs")
            return cls(target, None)
        return cls(target, grpc.ssl_channel_credentials(root_certificates))

    def channel(self, interceptors: list[grpc.aio.ClientInterceptor] | None = None) -> grpc.aio.Channel:
        """A channel with a connection of its own. Must be called in a running event loop."""
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.keepalive_time_ms", KEEPALIVE_AFTER_MS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_PATIENCE_MS),
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_FIRST_MS),
            ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MS),
        ]
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.target, options=options, interceptors=interceptors)
        return grpc.aio.secure_channel(self.target, self.credentials, options=options, interceptors=interceptors)
