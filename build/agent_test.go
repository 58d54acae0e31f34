package build

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/moby/buildkit/session"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// scarce is a listener whose first Accept finds no free descriptor.
type scarce struct {
	net.Listener
	failed bool
}

func (s *scarce) Accept() (net.Conn, error) {
	if !s.failed {
		s.failed = true
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return s.Listener.Accept()
}

// gone is a build's client that can't be reached.
type gone struct {
	session.Caller
	conn *grpc.ClientConn
}

func (g gone) Conn() *grpc.ClientConn                      { return g.conn }
func (g gone) Context(ctx context.Context) context.Context { return ctx }

// A forward outlives a failed Accept, and serves more connections than it serves at once.
func TestForwardAccept(t *testing.T) {
	conn, err := grpc.NewClient("passthrough:///gone", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, errors.New("gone") }))
	require.NoError(t, err)
	defer conn.Close()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	require.NoError(t, err)
	f := &forward{listener: &scarce{Listener: l}, caller: gone{conn: conn}}
	f.start(t.Context())
	for range 2 * maxForwards {
		c, err := net.Dial("unix", l.Addr().String())
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, c.Close())
	}
	require.NoError(t, f.Close())
}
