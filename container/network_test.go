package container_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/nft/nfttest"
)

// outside is what the host has of networks: links, routes, rules and settings.
func outside(t testing.TB) string {
	var all strings.Builder
	for _, command := range [][]string{{"ip", "link"}, {"ip", "route", "show", "table", "all"}, {"ip", "netns"}} {
		if _, err := exec.LookPath(command[0]); err != nil {
			continue
		}
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		all.Write(out)
	}
	all.WriteString(nfttest.Ruleset(t))
	return all.String()
}

// run runs a shell script in a container with a network, and gives what it said.
func runWith(t testing.TB, n container.Network, script string) string {
	t.Helper()
	out, err := busybox(t).Run(t.Context(), container.Config{Network: n, Args: []string{"sh", "-c", script}})
	require.NoError(t, err)
	defer out.Close()
	require.NoError(t, out.Wait(t.Context()), logOf(t, out))
	return logOf(t, out)
}

func logOf(t testing.TB, c *container.Container) string {
	r, err := c.Logs(t.Context(), nil)
	require.NoError(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

// needsWay skips the test where the kernel has no ways out.
func needsWay(t testing.TB) {
	t.Helper()
	c, err := busybox(t).New(t.Context(), container.Config{Network: container.Out(egress.Public)})
	if errors.Is(err, ctor.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// A container reaches what its program gives it, by name, and nothing else.
func TestOut(t *testing.T) {
	t.Parallel()
	needsWay(t)
	before := outside(t)
	shop := egress.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, from := egress.Asked(r)
		fmt.Fprintf(w, "%s of %s\n", r.URL.Path, address)
		if from.Container == "" {
			t.Error("nobody asked")
		}
	}))
	n := container.Out(egress.Mux{"shop.test:80": shop, "192.0.2.7:80": shop}.Dial)
	got := runWith(t, n, `
		wget -q -O - http://shop.test/tea
		wget -q -O - http://192.0.2.7/coffee
		wget -q -O - http://evil.test/ 2>&1 || echo no
		wget -q -O - http://192.0.2.8/ 2>&1 || echo no
		cat /etc/resolv.conf`)
	require.Equal(t, "/tea of shop.test:80\n/coffee of 192.0.2.7:80\n"+
		"wget: can't connect to remote host (198.18.1.1): Connection refused\nno\n"+
		"wget: can't connect to remote host (192.0.2.8): Connection refused\nno\n"+
		"nameserver 198.18.0.1\n", got)
	require.Equal(t, before, outside(t), "the host's network is as it was")
}

// What is the program's own is not reached by way of an address in there.
func TestOutNotHost(t *testing.T) {
	t.Parallel()
	needsWay(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	got := runWith(t, container.Out(egress.Allow("*", "127.0.0.0/8", "0.0.0.0/0")), fmt.Sprintf(`
		for a in 127.0.0.1 0.0.0.0 localhost 169.254.169.254 198.18.0.2; do nc -w 2 $a %s </dev/null && echo reached $a; done; true`, port))
	require.NotContains(t, got, "reached")
}

// Without a way out there is none.
func TestNoOut(t *testing.T) {
	t.Parallel()
	for _, n := range []container.Network{{}, container.Out(nil)} {
		got := runWith(t, n, "nc -w 2 192.0.2.7 80 </dev/null 2>&1 || echo no")
		require.Contains(t, got, "unreachable")
	}
}

func TestHostNetwork(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the host's") }))
	defer s.Close()
	conf, _ := os.ReadFile("/etc/resolv.conf")
	require.Equal(t, "the host's\n"+string(conf), runWith(t, container.Host(), "wget -q -O - "+s.URL+"; cat /etc/resolv.conf"))
}

// A container trusts the engine's authority beside those of its image, where
// its way out may answer TLS.
func TestOutTrust(t *testing.T) {
	t.Parallel()
	needsWay(t)
	shop := egress.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	c := containertest.Run(t, busybox(t), container.Config{Network: container.Out(shop), Args: []string{"sleep", "1000"}})
	env, err := c.Command(t.Context(), "env").Output()
	require.NoError(t, err)
	require.Contains(t, string(env), "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\n")
	pem, err := fs.ReadFile(c.FS(), "etc/ssl/certs/ca-certificates.crt")
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))

	found, err := c.Command(t.Context(), "busybox", "nslookup", "shop.test").CombinedOutput()
	require.NoError(t, err, "%s", found)
	address := regexp.MustCompile(`198\.18\.1\.\d+`).FindString(string(found))
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return c.Dial(ctx, network, address+":443") // as a process in there does
		},
		TLSClientConfig: &tls.Config{RootCAs: roots},
	}}
	resp, err := client.Get("https://shop.test/")
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "shop.test", string(got))

	plain := runWith(t, container.Out(egress.Public), "env; ls /etc/ssl 2>&1 || true")
	require.NotContains(t, plain, "SSL_CERT_FILE")
	require.Contains(t, plain, "No such file")
}

// A secret is put in on its way out, and is nowhere in the container.
func TestOutSecret(t *testing.T) {
	t.Parallel()
	needsWay(t)
	const token = "the-real-token"
	var seen sync.Map
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.URL.Path, r.Header.Get("Authorization"))
		fmt.Fprintln(w, "you sent", r.Header.Get("Authorization"))
	}))
	defer s.Close()
	api := egress.Mux{"*": func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.Listener.Addr().String())
	}}.Dial
	n := container.Out(egress.Secret(api, "api.test", "TOKEN", token))
	got := runWith(t, n, `
		wget -q -O - --header "Authorization: Bearer TOKEN" http://api.test/mine
		wget -q -O - --header "Authorization: Bearer TOKEN" http://other.test/theirs
		env; cat /proc/self/mountinfo /etc/hosts`)
	require.Contains(t, got, "you sent Bearer TOKEN\nyou sent Bearer TOKEN\n")
	require.NotContains(t, got, token)
	mine, _ := seen.Load("/mine")
	theirs, _ := seen.Load("/theirs")
	require.Equal(t, "Bearer "+token, mine)
	require.Equal(t, "Bearer TOKEN", theirs)
}

// The next life has the way out too, and a dialer that panics refuses.
func TestOutAgain(t *testing.T) {
	t.Parallel()
	needsWay(t)
	n := container.Out(func(_ context.Context, _, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "panic.") {
			panic("on purpose")
		}
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			_, _ = there.Read(make([]byte, 1000))
			_, _ = io.WriteString(there, "HTTP/1.0 200 OK\r\n\r\nhere\n")
		}()
		return here, nil
	})
	var out bytes.Buffer
	c, err := busybox(t).New(t.Context(), container.Config{Network: n, Stdout: &out, Stderr: &out, Args: []string{"sh", "-c", "exec 2>&1; wget -q -O - http://x.test/; wget -q -O - http://panic.test/; true"}})
	require.NoError(t, err)
	defer c.Close()
	for range 3 {
		out.Reset()
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, c.Wait(t.Context()))
		require.Equal(t, "here\nwget: can't connect to remote host (198.18.1.1): Connection refused\n", out.String())
	}
}

// A lookup of other records than addresses is decided on, and can be seen.
func TestOutLookup(t *testing.T) {
	t.Parallel()
	needsWay(t)
	var log bytes.Buffer
	d := egress.Record(&log, egress.Mux{"*": egress.Public, "no.test": nil}.Dial)
	c := containertest.Run(t, busybox(t), container.Config{Network: container.Out(d), Args: []string{"sleep", "1000"}})
	out, err := c.Command(t.Context(), "busybox", "nslookup", "-type=txt", "no.test").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, c.Close()) // nothing writes any more
	var e egress.Decision
	require.NoError(t, json.Unmarshal(log.Bytes(), &e), log.String())
	require.Equal(t, []string{"dns", "no.test", c.ID()}, []string{e.Network, e.Address, e.Container})
	require.Equal(t, egress.Refused, e.Verdict)
}

func TestOutBad(t *testing.T) {
	t.Parallel()
	for _, cfg := range []container.Config{
		{Network: container.Out(egress.Allow("a b"))},
		{Network: container.Out(egress.Mux{"x:http": egress.Public}.Dial)},
		{Network: container.Out(egress.Handler(http.NotFoundHandler())), Detach: true},
		{Network: container.Out(egress.Record(io.Discard, egress.Public)), Detach: true},
	} {
		_, err := busybox(t).New(t.Context(), cfg)
		require.ErrorIs(t, err, ctor.ErrInvalid)
	}
}

// A connection that is open when the container ends is closed with it.
func TestOutEnds(t *testing.T) {
	t.Parallel()
	needsWay(t)
	dialled, closed := make(chan struct{}), make(chan struct{})
	n := container.Out(func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		close(dialled)
		go func() {
			_, _ = io.Copy(io.Discard, there)
			close(closed)
		}()
		return here, nil
	})
	c := containertest.Run(t, busybox(t), container.Config{Network: n, Args: []string{"sh", "-c", "echo x | nc x.test 80 & sleep 1000"}})
	<-dialled
	require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
	var exit *container.ExitError
	require.True(t, errors.As(c.Wait(t.Context()), &exit))
	<-closed
}
