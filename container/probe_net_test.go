package container_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

func TestTCPProbe(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), sh("sleep 0.2; exec nc -ll -p 7 -e cat"))
	require.NoError(t, c.WaitReady(t.Context(), container.TCP(7)))
	for _, port := range []int{-1, 0, 65536} {
		require.ErrorIs(t, cannot(t, c, container.TCP(port)), ctor.ErrInvalid)
	}
	err := container.TCP(8)(t.Context(), c)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.ErrorContains(t, err, "tcp port 8: ")
	require.NotContains(t, err.Error(), c.ID(), "WaitReady names it")

	require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
	var exit *container.ExitError
	require.ErrorAs(t, cannot(t, c, container.TCP(8)), &exit)
}

// served has the program answer in the container's network.
func served(t *testing.T, c *container.Container, tls bool, handler http.HandlerFunc) {
	t.Helper()
	l, err := c.Listen(t.Context(), "tcp", ":8080")
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(handler)
	s.Listener.Close()
	s.Listener = l
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
}

func TestHTTPProbe(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	wait := func(c *container.Container, url string, status ...int) {
		t.Helper()
		require.NoError(t, c.WaitReady(t.Context(), container.HTTP(url, status...)))
	}
	look := func(c *container.Container, want, url string, status ...int) {
		t.Helper()
		err := container.HTTP(url, status...)(t.Context(), c)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), c.ID(), "WaitReady names it")
	}
	c := containertest.Run(t, img, sh("sleep 1000"))
	look(c, "http http://:8080/: connect: connection refused", "http://:8080/")
	asked := 0
	served(t, c, false, func(w http.ResponseWriter, r *http.Request) {
		switch asked++; r.URL.Path {
		case "/":
			fmt.Fprint(w, "welcome to ", r.Host)
		case "/moved":
			http.Redirect(w, r, "/nowhere", http.StatusFound)
		case "/busy":
			if asked%3 != 0 {
				http.Error(w, "not \x1b[31myet\x00", http.StatusServiceUnavailable)
			}
		case "/nowhere":
			http.NotFound(w, r)
		case "/endless":
			w.WriteHeader(http.StatusInternalServerError)
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("no \n"))
			}
		case "/header":
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		case "/host":
			http.Error(w, r.Host, http.StatusTeapot)
		}
	})
	wait(c, "http://:8080/")
	wait(c, "http://localhost:8080/")
	wait(c, "http://127.0.0.1:8080/moved")
	wait(c, "http://:8080/busy")
	wait(c, "http://:8080/nowhere", 500, 404)
	look(c, "http http://:8080/nowhere: 404 Not Found: 404 page not found", "http://:8080/nowhere")
	look(c, ": 200 OK: welcome to localhost:8080", "http://:8080/", 201)
	look(c, ": 418 I'm a teapot: 127.0.0.1:8080", "http://127.0.0.1:8080/host")
	look(c, "http http://me:xxxxx@:8080/nowhere: 404", "http://me:secret@:8080/nowhere")
	look(c, ": 500 Internal Server Error: no no no", "http://:8080/endless")
	look(c, "header", "http://:8080/header")
	look(c, "https://:8080/: ", "https://:8080/")
	look(c, "lookup elsewhere.example: ", "http://elsewhere.example:8080/")
	asked = 0
	look(c, ": 503 Service Unavailable: not yet", "http://:8080/busy")

	for _, url := range []string{"", "localhost:8080", "ftp://:21/", "http:///", "http://:8080\x00", "http://:99999999/x y"} {
		err := cannot(t, c, container.HTTP(url))
		require.ErrorIs(t, err, ctor.ErrInvalid, url)
	}

	secure := containertest.Run(t, img, sh("sleep 1000"))
	served(t, secure, true, func(http.ResponseWriter, *http.Request) {})
	wait(secure, "https://:8080/")
	look(secure, ": 400 Bad Request: Client sent an HTTP request to an HTTPS server.", "http://:8080/")
}

// A server that takes connections and does not answer holds up nobody whose
// ctx ends.
func TestHTTPProbeSilence(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), sh("exec nc -ll -p 80 -e sleep 1000"))
	require.NoError(t, c.WaitReady(t.Context(), container.TCP(80)))
	ctx, cancel := context.WithCancel(t.Context())
	never, looked := never()
	go func() { <-looked; cancel() }()
	require.ErrorIs(t, c.WaitReady(ctx, container.All(never, container.HTTP("http://:80/"))), context.Canceled)
}
