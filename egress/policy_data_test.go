package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

// A policy that is data decides the same when it comes back.
func TestMarshal(t *testing.T) {
	for want, d := range map[string]Dialer{
		"null":                                   nil,
		`{"public":true}`:                        Public,
		`{"allow":[]}`:                           Allow(),
		`{"allow":["example.org:443","*.test"]}`: Allow("example.org:443", "*.test"),
		`{"deny":["*:25"],"next":{"deny":["a.test"],"next":{"public":true}}}`:            Deny("*:25")(Deny("a.test")(Public)),
		`{"mux":{"*":{"public":true},"db:5432":{"allow":["10.0.0.0/8"]},"x.test":null}}`: Mux{"*": Public, "db:5432": Allow("10.0.0.0/8"), "x.test": nil}.Dial,
		`{"mux":{}}`: Mux{}.Dial,
	} {
		b, err := Marshal(d)
		require.NoError(t, err)
		require.Equal(t, want, string(b))
		back, err := Unmarshal(b)
		require.NoError(t, err)
		again, err := Marshal(back)
		require.NoError(t, err)
		require.Equal(t, want, string(again))
		if d == nil {
			require.Nil(t, back)
			continue
		}
		for _, a := range []string{"127.0.0.1:80", "a.test:25", "x.test:80"} {
			_, err1 := d(t.Context(), "udp", a)
			_, err2 := back(t.Context(), "udp", a)
			require.Equal(t, errors.Is(err1, ErrRefused), errors.Is(err2, ErrRefused), "%s by %s", a, want)
		}
	}
}

func TestMarshalNot(t *testing.T) {
	own := func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }
	for _, d := range []Dialer{
		own, Handler(http.NotFoundHandler()), Secret(Public, "x.test", "P", "v"), Record(io.Discard, Public), Limit(Public, Bounds{}),
		Deny("x")(own), Mux{"*": Public, "x": own}.Dial, Mux{"x": Mux{"y": own}.Dial}.Dial, Allow("a b"), Deny("x")(nil),
	} {
		_, err := Marshal(d)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	}
	for _, bad := range []string{
		"", "{}", `"public"`, `{"public":false}`, `{"public":true,"allow":[]}`, `{"deny":["x"]}`, `{"allow":[],"next":{"public":true}}`,
		`{"public":true,"but":"not this"}`, `{"allow":["a b"]}`, `{"mux":{"*":{}}}`, `{"public":true}{"public":true}`, `{"deny":[],"next":null}`,
	} {
		_, err := Unmarshal([]byte(bad))
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, bad)
	}
}
