package egress_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/egress"
)

// A lookup is decided on the name, as connections are.
func TestForwards(t *testing.T) {
	own := func(context.Context, string, string) (net.Conn, error) { t.Error("it was called"); return nil, io.EOF }
	for i, test := range []struct {
		d        egress.Dialer
		yes, not []string
	}{
		{nil, nil, []string{"a.test"}},
		{egress.Public, []string{"a.test", "A.test."}, []string{""}},
		{egress.Allow("a.test:443", "*.b.test"), []string{"a.test", "A.TEST.", "x.b.test"}, []string{"b.test", "c.test"}},
		{egress.Allow("*"), []string{"a.test"}, nil},
		{egress.Allow("10.0.0.0/8"), nil, []string{"a.test"}},
		{egress.Allow("*", "a b"), nil, []string{"a.test"}},
		{egress.Deny("a.test", "b.test:25")(egress.Public), []string{"b.test", "c.test"}, []string{"a.test"}},
		{egress.Deny("a.test")(egress.Allow("b.test")), []string{"b.test"}, []string{"a.test", "c.test"}},
		{egress.Handler(http.NotFoundHandler()), nil, []string{"a.test"}},
		{own, nil, []string{"a.test"}},
		{egress.Secret(egress.Allow("a.test"), "a.test", "P", "v"), []string{"a.test"}, []string{"b.test"}},
		{egress.Record(io.Discard, egress.Limit(egress.Public, egress.Bounds{})), []string{"a.test"}, nil},
		{egress.Mux{"a.test:443": egress.Public, "b.test": nil, "c.test": own, "d.test:25": nil, "d.test": egress.Public, "*.e.test": egress.Allow("x.e.test"), "*": egress.Public}.Dial,
			[]string{"a.test", "d.test", "x.e.test", "z.test"}, []string{"b.test", "c.test", "y.e.test"}},
		{egress.Mux{"a.test": egress.Public}.Dial, []string{"a.test"}, []string{"b.test"}},
	} {
		for _, name := range test.yes {
			require.True(t, egress.Forwards(t.Context(), test.d, name), "%d: %s", i, name)
		}
		for _, name := range test.not {
			require.False(t, egress.Forwards(t.Context(), test.d, name), "%d: %s", i, name)
		}
	}
}

// What was looked up is written down, and a question of ours is not.
func TestRecordForwards(t *testing.T) {
	var log bytes.Buffer
	d := egress.Record(&log, egress.Allow("a.test"))
	require.NoError(t, egress.Check(d))
	require.False(t, egress.Answers(d))
	require.Zero(t, log.Len())
	ctx := egress.WithSource(t.Context(), egress.Source{Container: "c1"})
	require.True(t, egress.Forwards(ctx, d, "a.test"))
	require.False(t, egress.Forwards(ctx, d, "b.test"))
	dec := json.NewDecoder(&log)
	var a, b egress.Decision
	require.NoError(t, dec.Decode(&a))
	require.NoError(t, dec.Decode(&b))
	require.Equal(t, []string{"dns", "a.test", "c1", ""}, []string{a.Network, a.Address, a.Container, a.Reason})
	require.Equal(t, []string{"dns", "b.test", "c1"}, []string{b.Network, b.Address, b.Container})
	require.Equal(t, egress.Refused, b.Verdict)
}
