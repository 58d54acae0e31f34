package registry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

const forever = time.Hour

// ask sends a request to a handler.
func ask(t *testing.T, p *patience, method string, h http.HandlerFunc) (*http.Response, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL, nil)
	require.NoError(t, err)
	p.base = http.DefaultTransport
	return p.RoundTrip(req)
}

func begin(w http.ResponseWriter) {
	_, _ = io.WriteString(w, "begin")
	w.(http.Flusher).Flush()
}

// A host that stops in the middle is given up, and can't be reached.
func TestStandstill(t *testing.T) {
	resp, err := ask(t, &patience{answer: forever, still: 10 * time.Millisecond}, "GET", func(w http.ResponseWriter, r *http.Request) {
		begin(w)
		<-r.Context().Done()
	})
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.Equal(t, "begin", string(b))
	require.ErrorIs(t, err, errStill)
	require.Equal(t, errdefs.ErrUnavailable, class(t.Context(), err))
}

// Nor is one waited for that doesn't begin.
func TestNoAnswer(t *testing.T) {
	_, err := ask(t, &patience{answer: 10 * time.Millisecond, still: forever}, "GET", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	require.ErrorIs(t, err, errSlow)
	require.Equal(t, errdefs.ErrUnavailable, class(t.Context(), err))
}

// What counts is neither how long an answer takes, nor its reader, nor what a
// host does with what was sent to it.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Minute
		body, sender := io.Pipe()
		p := &patience{answer: limit, still: limit, base: transportFunc(func(*http.Request) (*http.Response, error) {
			time.Sleep(2 * limit)
			return &http.Response{Body: body}, nil
		})}
		req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://registry.test/", nil)
		require.NoError(t, err)
		resp, err := p.RoundTrip(req)
		require.NoError(t, err)
		go func() {
			for range 10 {
				time.Sleep(limit - 1)
				_, _ = io.WriteString(sender, "some")
			}
			sender.Close()
		}()
		b := make([]byte, 4)
		for err == nil {
			time.Sleep(2 * limit)
			_, err = io.ReadFull(resp.Body, b)
		}
		require.Equal(t, io.EOF, err)
		require.NoError(t, resp.Body.Close())
	})
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
