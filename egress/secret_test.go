package egress

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

const (
	placeholder = "API-TOKEN"
	value       = `s3cr"t/+& value`
)

// echo answers with the request as it came, and keeps it.
type echo struct{ got atomic.Pointer[string] }

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dump, err := httputil.DumpRequest(r, true)
	if err != nil {
		panic(err)
	}
	text := string(dump)
	e.got.Store(&text)
	w.Header().Set("X-Token", r.Header.Get("X-Token"))
	w.Header().Set("Trailer", "X-Last")
	_, _ = io.WriteString(w, text)
	w.Header().Set("X-Last", r.Header.Get("X-Token"))
}

func TestSecret(t *testing.T) {
	e := &echo{}
	for _, scheme := range []string{"http", "https"} {
		for _, http2 := range []bool{false, true} {
			s := httptest.NewUnstartedServer(e)
			s.EnableHTTP2 = http2
			start := map[string]func(){"http": s.Start, "https": s.StartTLS}[scheme]
			start()
			defer s.Close()
			c := client(t, Secret(to(s), "example.com", placeholder, value), authority(t), http2)

			req, err := http.NewRequestWithContext(t.Context(), "POST", scheme+"://example.com/v1/"+placeholder+"/x?key="+placeholder+"&n=1", strings.NewReader(`{"token":"`+placeholder+`"}`))
			require.NoError(t, err)
			req.Header.Set("X-Token", "Bearer "+placeholder)
			req.Header.Set("X-Forwarded-For", "192.0.2.1")
			req.SetBasicAuth("me", placeholder)
			resp, err := c.Do(req)
			text := body(t, resp, err)
			require.Equal(t, http.StatusOK, resp.StatusCode, text)

			got := *e.got.Load()
			require.Contains(t, got, "POST /v1/s3cr%22t%2F+&%20value/x?key=s3cr%22t%2F%2B%26+value&n=1 HTTP")
			require.Contains(t, got, "Host: example.com\r\n")
			require.Contains(t, got, "X-Token: Bearer "+value)
			require.Contains(t, got, "X-Forwarded-For: 192.0.2.1\r\n")
			require.Contains(t, got, "Authorization: Basic bWU6czNjciJ0LysmIHZhbHVl\r\n")
			require.Contains(t, got, fmt.Sprintf("Content-Length: %d\r\n", len(`{"token":""}`)+len(value)))
			require.True(t, strings.HasSuffix(got, `{"token":"`+value+`"}`))
			require.NotContains(t, got, placeholder)

			require.NotContains(t, text, "s3cr")
			require.NotContains(t, text, "bWU6czNjciJ0LysmIHZhbHVl")
			require.Contains(t, text, "POST /v1/"+placeholder+"/x?key="+placeholder+"&n=1")
			require.Equal(t, "Bearer "+placeholder, resp.Header.Get("X-Token"))
			require.Equal(t, "Bearer "+placeholder, resp.Trailer.Get("X-Last"))
		}
	}
}

// No other host sees the value, and none is reached in the name of its host.
func TestSecretOthers(t *testing.T) {
	e := &echo{}
	s := httptest.NewServer(e)
	defer s.Close()
	c := client(t, Secret(to(s), "example.com", placeholder, value), authority(t), false)
	resp, err := c.Get("http://other.test/?" + placeholder)
	require.Contains(t, body(t, resp, err), "/?"+placeholder)
	require.Contains(t, *e.got.Load(), placeholder)

	e.got.Store(nil)
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://example.com/?"+placeholder, nil)
	require.NoError(t, err)
	req.Host = "other.test"
	resp, err = c.Do(req)
	body(t, resp, err)
	require.Equal(t, http.StatusMisdirectedRequest, resp.StatusCode)
	require.Nil(t, e.got.Load())

	_, err = Secret(never(t), "example.com", placeholder, value)(t.Context(), "udp", "example.com:443")
	require.ErrorIs(t, err, ErrRefused)
	for _, bad := range []Dialer{Secret(never(t), "a b", "p", "v"), Secret(never(t), "*.org", "p", "v"), Secret(never(t), "x:1", "p", "v"), Secret(never(t), "10.0.0.0/8", "p", "v"), Secret(never(t), "x", "", "v"), Secret(never(t), "x", "p", "")} {
		_, err := bad(t.Context(), "tcp", "x:1")
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	}
}

func TestSecretAnswers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("X-Token")
		switch r.URL.Path {
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, token)
			z.Close()
		case "/asked":
			fmt.Fprint(w, r.Header.Get("Accept-Encoding"), r.Header.Get("Range"))
		case "/json":
			_ = json.NewEncoder(w).Encode(map[string]string{"token": token})
		case "/slow":
			for i := range 3 {
				fmt.Fprintf(w, "data: %d %s\n\n", i, token)
				w.(http.Flusher).Flush()
				if i == 0 {
					<-r.Context().Done() // no one reads the rest
				}
			}
		case "/break":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, token)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/empty":
			w.WriteHeader(http.StatusNotModified)
		}
	}))
	s.Config.ErrorLog = nil
	defer s.Close()
	c := client(t, Secret(to(s), "example.com", placeholder, value), authority(t), false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	get := func(path string, header ...string) *http.Response {
		req, err := http.NewRequestWithContext(ctx, "GET", "http://example.com"+path, nil)
		require.NoError(t, err)
		req.Header.Set("X-Token", placeholder)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := c.Do(req)
		require.NoError(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	resp := get("/gzip")
	text := body(t, resp, nil)
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, text, "compressed")
	require.Equal(t, "", body(t, get("/asked", "Accept-Encoding", "gzip", "Range", "bytes=0-1"), nil))
	require.Equal(t, `{"token":"`+placeholder+`"}`+"\n", body(t, get("/json"), nil))
	require.Equal(t, http.StatusNotModified, get("/empty").StatusCode)
	require.Equal(t, http.StatusNotImplemented, get("/", "Upgrade", "websocket", "Connection", "Upgrade").StatusCode)

	broken := get("/break")
	got, err := io.ReadAll(broken.Body)
	require.Error(t, err, "what broke off is not whole")
	require.NotContains(t, string(got), value)

	line, err := bufio.NewReader(get("/slow").Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "data: 0 "+placeholder+"\n", line, "an event comes when it is sent")
}

// An error says what failed, without the value.
func TestSecretUnreachable(t *testing.T) {
	d := func(context.Context, string, string) (net.Conn, error) {
		return nil, fmt.Errorf("no way with %s", value)
	}
	resp, err := client(t, Secret(d, "example.com", placeholder, value), authority(t), false).Get("https://example.com/")
	text := body(t, resp, err)
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Equal(t, "no way with "+placeholder+"\n", text)
}

// The connections to the host are the container's, and end with its own.
func TestSecretEnds(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			if r.URL.Path == "/hang" {
				<-r.Context().Done()
			}
		}))
		s.EnableHTTP2 = http2
		s.StartTLS()
		before := runtime.NumGoroutine()
		var open atomic.Int64
		d := func(ctx context.Context, network, address string) (net.Conn, error) {
			require.Equal(t, "c1", SourceOf(ctx).Container)
			c, err := to(s)(ctx, network, address)
			open.Add(1)
			return &counted{Conn: c, n: &open}, err
		}
		var (
			mine    conns
			hanging *http.Response
		)
		c := client(t, mine.keep(Secret(d, "example.com", placeholder, value)), authority(t), http2)
		for _, path := range []string{"/", "/hang", "/"} {
			resp, err := c.Get("https://example.com" + path)
			require.NoError(t, err)
			if path == "/" {
				body(t, resp, nil)
			} else {
				hanging = resp
			}
		}
		require.Positive(t, open.Load())
		mine.each(func(conn net.Conn) { conn.Close() }) // as a container that is killed
		require.Eventually(t, func() bool { return open.Load() == 0 }, 10*time.Second, 5*time.Millisecond)
		hanging.Body.Close()
		require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 10*time.Second, 5*time.Millisecond)
		s.Close()
	}
}

// conns keeps connections.
type conns struct {
	mu  sync.Mutex
	all []net.Conn
}

func (c *conns) each(f func(net.Conn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.all {
		f(conn)
	}
}

// keep gives d's connections to c as well.
func (c *conns) keep(d Dialer) Dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d(ctx, network, address)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.all = append(c.all, conn)
		}
		return conn, err
	}
}

type counted struct {
	net.Conn
	n    *atomic.Int64
	once atomic.Bool
}

func (c *counted) Close() error {
	if !c.once.Swap(true) {
		c.n.Add(-1)
	}
	return c.Conn.Close()
}

// The value is found wherever in an answer it stands: in headers that come
// early or late, over the borders of chunks, and with HTTP/2 as well.
func TestSecretHidden(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("X-Token")
		w.Header().Set("Link", "</"+token+">; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Last")
		w.Header().Set("Location", "/?q="+token)
		if r.URL.Path == "/empty" {
			w.Header().Set("X-Last", token)
			return
		}
		w.WriteHeader(http.StatusCreated)
		for i := range token {
			_, _ = io.WriteString(w, token[i:i+1])
			w.(http.Flusher).Flush()
		}
		w.Header().Set("X-Last", token)
	})
	for _, http2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(h)
		s.EnableHTTP2 = http2
		s.StartTLS()
		defer s.Close()
		c := client(t, Secret(to(s), "example.com", placeholder, value), authority(t), http2)
		for _, path := range []string{"/", "/empty"} {
			hints := 0
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				hints++
				require.Equal(t, "</"+placeholder+">; rel=preload", h.Get("Link"))
				return nil
			}})
			req, err := http.NewRequestWithContext(ctx, "GET", "https://example.com"+path, nil)
			require.NoError(t, err)
			req.Header.Set("X-Token", placeholder)
			resp, err := c.Do(req)
			text := body(t, resp, err)
			require.Equal(t, 1, hints)
			require.NotContains(t, fmt.Sprint(resp.Header, resp.Trailer, text), "s3cr", "%s %s", resp.Proto, path)
			require.Equal(t, "/?q="+placeholder, resp.Header.Get("Location"))
			require.Equal(t, placeholder, resp.Trailer.Get("X-Last"), "%s %s", resp.Proto, path)
			if path == "/" {
				require.Equal(t, placeholder, text)
			}
		}
	}
}
