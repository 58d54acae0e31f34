package container_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/fixture"
)

// networked starts a helper in a network namespace of its own, which it knows
// nothing of until begin is called.
func networked(t *testing.T, name, root string) (pid string, begin func(), kill func()) {
	t.Helper()
	cmd := fixture.Program(name)
	cmd.Env = append(cmd.Env, helperRoot+"="+root, helperWait+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	kill = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(kill)
	lines := bufio.NewReader(out)
	ready := func() {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "ready\n", line)
	}
	ready()
	return strconv.Itoa(cmd.Process.Pid), func() {
		_, err := io.WriteString(in, "go\n")
		require.NoError(t, err)
		ready()
	}, kill
}

// within runs a command in the network of a process.
func within(t *testing.T, pid string, args ...string) {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"-t", pid, "-n"}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// A detached container's way out goes on when the program is killed, by the same
// policy, ends with the container, and is there again when a later program starts
// that.
func TestDetachedOut(t *testing.T) {
	t.Parallel()
	needsWay(t)
	for _, command := range []string{"nsenter", "ip"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skip(err)
		}
	}
	root, before := prepared(t)
	server, serve, _ := networked(t, "server", root)
	program, run, kill := networked(t, "out", root)
	within(t, program, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", server)
	for pid, link := range map[string][2]string{program: {"v0", "10.99.0.1/24"}, server: {"v1", "10.99.0.2/24"}} {
		within(t, pid, "ip", "address", "add", link[1], "dev", link[0])
		within(t, pid, "ip", "link", "set", link[0], "up")
	}
	serve()
	run()
	kill()

	e := reopen(t, root)
	c, err := container.Get(t.Context(), e, "out")
	require.NoError(t, err)
	require.Contains(t, strings.Join(fixture.Count(t, e)["processes"], " "), "ctor-porter")
	many := func() string { return logs(t, c)[max(0, len(logs(t, c))-1000):] }
	seen := len(logs(t, c))
	require.Eventually(t, func() bool {
		return strings.Count(logs(t, c)[seen:], "here\nwget: can't connect to remote host (10.99.0.3): Connection refused\n") > 3
	}, fixture.Patience, 10*time.Millisecond, "%s", many())
	require.ErrorIs(t, c.SetOut(t.Context(), egress.Public), ctor.ErrInvalid)

	require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
	_ = c.Wait(t.Context())
	require.Eventually(t, func() bool {
		return !strings.Contains(strings.Join(fixture.Count(t, e)["processes"], " "), "ctor-porter")
	}, fixture.Patience, 10*time.Millisecond)
	seen = len(logs(t, c))
	require.NoError(t, c.Start(t.Context()))
	require.Eventually(t, func() bool { // by this program, whose network has no such server
		return strings.Contains(logs(t, c)[seen:], "10.99.0.3): Connection refused")
	}, fixture.Patience, 10*time.Millisecond, "%s", many())
	require.NoError(t, c.Close())
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// again opens the root once more, as the next program does.
func again(t *testing.T, e *ctor.Engine) *ctor.Engine {
	t.Helper()
	require.NoError(t, e.Close())
	next, err := ctor.Open(t.Context(), ctor.Config{Root: e.Root()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, next.Close()) })
	return next
}

// A kept container's policy comes with it, and a function is asked for.
func TestKeptOut(t *testing.T) {
	t.Parallel()
	needsWay(t)
	root, _ := prepared(t)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	hello := egress.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello\n") }))
	const script = "wget -q -O - http://a.test/ 2>&1; true"
	img := fixture.Busybox(t, e)
	for name, d := range map[string]egress.Dialer{"data": egress.Allow("x.test"), "function": hello} {
		_, err := img.Run(t.Context(), container.Config{Name: name, Keep: true, Network: container.Out(d), Args: []string{"sh", "-c", script}})
		require.NoError(t, err)
	}
	none, err := img.Run(t.Context(), container.Config{Network: container.Network{}, Args: []string{"true"}})
	require.NoError(t, err)
	require.ErrorIs(t, none.SetOut(t.Context(), hello), ctor.ErrInvalid, "it has no way out")

	e = again(t, e)
	data, err := container.Get(t.Context(), e, "data")
	require.NoError(t, err)
	require.NoError(t, data.Start(t.Context()))
	require.NoError(t, data.Wait(t.Context()))
	require.Contains(t, logs(t, data), "Connection refused", "a policy, and not a network without a way out")
	require.ErrorIs(t, data.SetOut(t.Context(), hello), ctor.ErrInvalid, "it trusts nobody")
	require.ErrorIs(t, data.SetOut(t.Context(), egress.Allow("a b")), ctor.ErrInvalid)

	function, err := container.Get(t.Context(), e, "function")
	require.NoError(t, err)
	err = function.Start(t.Context())
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.ErrorContains(t, err, "SetOut")
	require.NoError(t, function.SetOut(t.Context(), hello))
	require.NoError(t, function.Start(t.Context()))
	require.NoError(t, function.Wait(t.Context()))
	require.True(t, strings.HasSuffix(logs(t, function), "hello\n"), logs(t, function))

	// What is given last counts for the next program too; nil is nothing.
	require.NoError(t, data.SetOut(t.Context(), nil))
	require.NoError(t, function.SetOut(t.Context(), egress.Mux{"a.test": nil}.Dial))
	e = again(t, e)
	for _, name := range []string{"data", "function"} {
		c, err := container.Get(t.Context(), e, name)
		require.NoError(t, err)
		seen := len(logs(t, c))
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, c.Wait(t.Context()))
		require.Contains(t, logs(t, c)[seen:], "Connection refused")
		require.NoError(t, c.Remove(t.Context()))
	}
}

// A kept container trusts the authority of each engine that starts it.
func TestKeptTrust(t *testing.T) {
	t.Parallel()
	needsWay(t)
	root, _ := prepared(t)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	shop := egress.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	c, err := fixture.Busybox(t, e).Run(t.Context(), container.Config{Name: "kept", Keep: true, Network: container.Out(shop), Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	for range 3 {
		pem, err := fs.ReadFile(c.FS(), "etc/ssl/certs/ca-certificates.crt")
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(pem), "BEGIN CERTIFICATE"))
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(pem))
		found, err := c.Command(t.Context(), "busybox", "nslookup", "shop.test").CombinedOutput()
		require.NoError(t, err, "%s", found)
		address := regexp.MustCompile(`198\.18\.1\.\d+`).FindString(string(found))
		client := http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return c.Dial(ctx, network, address+":443")
			},
			TLSClientConfig: &tls.Config{RootCAs: roots},
		}}
		resp, err := client.Get("https://shop.test/")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		client.CloseIdleConnections()

		e = again(t, e)
		c, err = container.Get(t.Context(), e, "kept")
		require.NoError(t, err)
		require.NoError(t, c.SetOut(t.Context(), shop))
		require.NoError(t, c.Start(t.Context()))
	}
	require.NoError(t, c.Remove(t.Context()))
}
