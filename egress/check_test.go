package egress_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/egress"
)

// Functions of others are called for connections alone.
func TestCheckOthers(t *testing.T) {
	never := func(_ context.Context, network, address string) (net.Conn, error) {
		t.Errorf("dialled %q %q", network, address)
		return nil, errors.ErrUnsupported
	}
	for _, d := range []egress.Dialer{
		nil, egress.Public, never, egress.Mux{"x": never, "y": nil}.Dial, egress.Deny("x")(never),
		egress.Secret(never, "x", "p", "v"), egress.Record(nil, never), egress.Limit(never, egress.Bounds{}), egress.Handler(nil),
	} {
		require.NoError(t, egress.Check(d))
	}
}
