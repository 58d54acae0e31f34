package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHandler(t *testing.T) {
	d := Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, from := Asked(r)
		fmt.Fprintf(w, "%s %s %s to %s from %s", r.Proto, r.Method, r.Host, address, from.Container)
	}))
	ca := authority(t)
	for _, http2 := range []bool{false, true} {
		c := client(t, d, ca, http2)
		proto := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]
		resp, err := c.Get("http://shop.test/")
		require.Equal(t, "HTTP/1.1 GET shop.test to shop.test:80 from c1", body(t, resp, err))
		for range 3 {
			resp, err = c.Get("https://shop.test:8443/x")
			require.Equal(t, proto+" GET shop.test:8443 to shop.test:8443 from c1", body(t, resp, err))
		}
		resp, err = c.Get("https://192.0.2.7/")
		require.Equal(t, proto+" GET 192.0.2.7 to 192.0.2.7:443 from c1", body(t, resp, err))
		resp, err = c.Get("https://[2001:db8::1]/")
		require.Equal(t, proto+" GET [2001:db8::1] to [2001:db8::1]:443 from c1", body(t, resp, err))
	}
	_, err := d(t.Context(), "udp", "shop.test:443")
	require.ErrorIs(t, err, ErrRefused)
	address, from := Asked(new(http.Request))
	require.Empty(t, address)
	require.Zero(t, from)
}

// A certificate is for the host that was asked for, and for whom trusts the CA.
func TestHandlerTrust(t *testing.T) {
	d := Handler(http.NotFoundHandler())
	ca, other := authority(t), authority(t)
	dial := func(ca *CA, address, name string) error {
		c, err := d(WithSource(t.Context(), Source{CA: ca}), "tcp", address)
		require.NoError(t, err)
		defer c.Close()
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(other.Certificate())
		return tls.Client(c, &tls.Config{ServerName: name, RootCAs: roots}).Handshake()
	}
	require.NoError(t, dial(other, "a.test:443", "a.test"))
	require.Error(t, dial(ca, "a.test:443", "a.test"), "another engine's CA")
	require.Error(t, dial(other, "a.test:443", "b.test"), "the name is not what was asked for")
	require.Error(t, dial(nil, "a.test:443", "a.test"))
}

// What a container asks for does not add up.
func TestLeaves(t *testing.T) {
	ca := authority(t)
	first, err := ca.leaf("h0.test")
	require.NoError(t, err)
	again, err := ca.leaf("h0.test")
	require.NoError(t, err)
	require.Same(t, first, again)
	for i := range mostLeaves + 10 {
		_, err := ca.leaf(fmt.Sprintf("h%d.test", i))
		require.NoError(t, err)
	}
	require.Len(t, ca.leaves, mostLeaves)
	require.Equal(t, mostLeaves, ca.recent.Len())
	again, err = ca.leaf("h0.test")
	require.NoError(t, err)
	require.NotSame(t, first, again)
}

// Connections that say nothing, or rubbish, end, and so do their goroutines.
func TestHandlerEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	d := Handler(http.NotFoundHandler())
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			c, err := d(context.Background(), "tcp", "a.test:443")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			switch i % 3 {
			case 0: // nothing
			case 1:
				_, _ = c.Write([]byte("\x16\x03\x01 no handshake of ours"))
			case 2:
				_, _ = c.Write([]byte("GET / HTTP/1.1\r\n"))
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 10*time.Second, time.Millisecond)
}
