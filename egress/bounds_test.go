package egress

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One container can't have more than its connections to a handler; another one
// is served all the same, and so is it when some have ended.
func TestHandlerBounds(t *testing.T) {
	d := Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "here") }))
	dial := func(container string) (net.Conn, error) {
		return d(WithSource(t.Context(), Source{Container: container}), "tcp", "a.test:80")
	}
	var open []net.Conn
	for range mostAnswered {
		c, err := dial("greedy")
		require.NoError(t, err)
		defer c.Close()
		open = append(open, c)
	}
	_, err := dial("greedy")
	require.ErrorIs(t, err, ErrRefused)
	c, err := dial("other")
	require.NoError(t, err)
	c.Close()
	open[0].Close()
	require.Eventually(t, func() bool {
		c, err := dial("greedy")
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 30*time.Second, time.Millisecond)
}

// A header that has no end is not kept.
func TestHandlerHeader(t *testing.T) {
	d := Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	c, err := d(t.Context(), "tcp", "a.test:80")
	require.NoError(t, err)
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nX: ")
		for range 100 {
			if _, err := io.WriteString(c, strings.Repeat("x", 10_000)); err != nil {
				return
			}
		}
	}()
	answer := make([]byte, 12)
	_, err = io.ReadFull(c, answer)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 431", string(answer))
}

// A body that the secret makes much longer, and one that comes when there is no
// room, arrive whole, without their length.
func TestSecretBodyBounds(t *testing.T) {
	value := strings.Repeat("v", 1000)
	var length int64
	var got []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		length = r.ContentLength
		got, _ = io.ReadAll(r.Body)
	}))
	defer s.Close()
	hc := client(t, Secret(to(s), "a.test", "TOKEN", value), authority(t), false)
	post := func(sent string) {
		t.Helper()
		resp, err := hc.Post("http://a.test/", "text/plain", strings.NewReader(sent))
		require.Empty(t, body(t, resp, err))
		require.Equal(t, strings.ReplaceAll(sent, "TOKEN", value), string(got))
	}
	post("a TOKEN b")
	require.EqualValues(t, 4+len(value), length)
	post(strings.Repeat("TOKEN", 1000))
	require.EqualValues(t, -1, length)
	require.True(t, wholeBodies.TryAcquire(16<<20), "all room is free again")
	post("a TOKEN b")
	require.EqualValues(t, -1, length)
	wholeBodies.Release(16 << 20)
	post("a TOKEN b")
	require.EqualValues(t, 4+len(value), length)

	// A body that breaks off frees its room too.
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://a.test/", io.MultiReader(bytes.NewReader([]byte("half")), breaks{cancel}))
	require.NoError(t, err)
	r.ContentLength = 1000
	_, err = hc.Do(r)
	require.Error(t, err)
	require.Eventually(t, func() bool {
		free := wholeBodies.TryAcquire(16 << 20)
		if free {
			wholeBodies.Release(16 << 20)
		}
		return free
	}, 30*time.Second, time.Millisecond)
}

// breaks is a body whose sender goes away.
type breaks struct{ away func() }

func (b breaks) Read([]byte) (int, error) {
	b.away()
	return 0, io.ErrUnexpectedEOF
}
