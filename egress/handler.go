package egress

import (
	"context"
	"net"
	"net/http"
)

// Handler answers by h, in this program: no connection leaves it. It speaks HTTP,
// and HTTPS where the container trusts the engine's CA; both also as HTTP/2. What
// the request's Host says is the container's word; the host that it connected to
// is [Asked]'s.
//
// It answers TCP alone and refuses UDP, with [ErrRefused]: a client that tries
// HTTP/3 goes on with HTTP/2. A handler that panics ends its connection. One
// container has at most 1024 connections to it at a time, each with up to 64
// requests at once, whose headers have up to 64 KiB.
func Handler(h http.Handler) Dialer {
	return (&handler{newServer(h)}).dial
}

type handler struct{ server *server }

func (h *handler) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if q := asked(ctx, nil); q != nil {
		q.answers = true
		return nil, errAsked
	}
	if !isTCP(network) {
		return nil, refused(network, address, "a Handler answers TCP alone")
	}
	return h.server.serve(ctx, network, address)
}

// Asked gives the "host:port" that the connection of a request to a [Handler]
// was opened to, and who opened it. Both are zero for a request of another server.
func Asked(r *http.Request) (address string, s Source) {
	c, ok := r.Context().Value(connKey{}).(*answered)
	if !ok {
		return "", Source{}
	}
	return c.address, c.source
}

func isTCP(network string) bool {
	return network == "tcp" || network == "tcp4" || network == "tcp6"
}
