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

func TestAnswers(t *testing.T) {
	own := func(context.Context, string, string) (net.Conn, error) { return nil, errors.ErrUnsupported }
	h := egress.Handler(nil)
	for _, d := range []egress.Dialer{nil, egress.Public, egress.Allow("x"), egress.Deny("x")(egress.Public), egress.Mux{"x": egress.Public, "y": nil}.Dial, egress.Record(nil, egress.Limit(egress.Public, egress.Bounds{}))} {
		require.False(t, egress.Answers(d))
	}
	for _, d := range []egress.Dialer{h, own, egress.Deny("x")(h), egress.Mux{"x": egress.Public, "y": h}.Dial, egress.Record(nil, egress.Limit(own, egress.Bounds{})), egress.Secret(egress.Public, "x", "p", "v")} {
		require.True(t, egress.Answers(d))
	}
}
