package container_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
)

// gateways are the routers of this host.
func gateways(t testing.TB) (all []string) {
	table, err := os.ReadFile("/proc/net/route")
	require.NoError(t, err)
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		if b, err := hex.DecodeString(fields[2]); err == nil && !bytes.Equal(b, make([]byte, 4)) {
			slices.Reverse(b)
			all = append(all, net.IP(b).String())
		}
	}
	return all
}

// No policy of package egress leads to this host or to what is beside it, however
// the container writes it and by whatever name.
func TestOutNeverHost(t *testing.T) {
	t.Parallel()
	needsWay(t)
	l, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer l.Close()
	var reached atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	hosts := []string{"127.0.0.1", "127.1.2.3", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "169.254.169.254", "fe80::1", "64:ff9b::7f00:1", "2002:7f00:1::"}
	own, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range own {
		ip := a.(*net.IPNet).IP
		hosts = append(hosts, ip.String())
		if ip.To4() != nil {
			hosts = append(hosts, "::ffff:"+ip.String())
		}
	}
	hosts = append(hosts, gateways(t)...)
	name, err := os.Hostname()
	require.NoError(t, err)
	names := []string{"localhost", "localhost.", "LOCALHOST", name, name + ".", "ip6-localhost"}
	everything := egress.Allow("*", "0.0.0.0/0", "::/0")
	for policy, d := range map[string]egress.Dialer{
		"Public": egress.Public, "Allow": everything, "Deny": egress.Deny("nothing.test")(egress.Public),
		"Mux": egress.Mux{"*": egress.Record(io.Discard, egress.Limit(everything, egress.Bounds{Connections: 100}))}.Dial,
	} {
		c := containertest.Run(t, busybox(t), container.Config{Network: container.Out(d), Args: []string{"sleep", "1000"}})
		for _, host := range hosts {
			conn, err := c.Dial(t.Context(), "tcp", net.JoinHostPort(host, port)) // as a process in there does
			if err == nil {
				conn.Close()
			}
			require.Error(t, err, "%s of %s", host, policy)
		}
		for _, host := range names {
			out, err := c.Command(t.Context(), "nc", "-w", "5", host, port).CombinedOutput()
			require.Error(t, err, "%s of %s: %s", host, policy, out)
		}
	}
	require.Zero(t, reached.Load())
}

// A secret that a container uses is not in its memory, its files, its environment
// or anything else that it can read.
func TestOutSecretNowhere(t *testing.T) {
	t.Parallel()
	needsWay(t)
	secret := "ghp" + strings.Repeat("_s3cret", 4)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := r.Header.Get("Authorization")
		if !strings.Contains(got, secret) {
			http.Error(w, "it was not put in", http.StatusTeapot)
			return
		}
		w.Header().Set("X-Echo", got)
		for _, half := range []string{got[:len(got)/2], got[len(got)/2:]} {
			_, _ = io.WriteString(w, half)
			w.(http.Flusher).Flush()
		}
	}))
	defer echo.Close()
	there := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, echo.Listener.Addr().String())
	}
	c := containertest.Run(t, busybox(t), container.Config{
		Env:     []string{"TOKEN=PLACEHOLDER"},
		Network: container.Out(egress.Secret(there, "api.test", "PLACEHOLDER", secret)),
		Args: []string{"sh", "-c", `
			wget -S -O /answer --header "Authorization: Bearer $TOKEN" http://api.test/ 2>/headers || exit 1
			answer=$(cat /answer /headers)
			echo ready $answer
			sleep 1000 & wait`},
		Ready: container.Log("ready", 1),
	})
	answer, err := fs.ReadFile(c.FS(), "answer")
	require.NoError(t, err)
	require.Equal(t, "Bearer PLACEHOLDER", string(answer))

	inside, err := c.Command(t.Context(), "sh", "-c", `cat /headers /proc/*/environ /proc/*/cmdline /proc/*/mountinfo /proc/net/* /proc/self/net/* 2>/dev/null; env; true`).CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(inside), "X-Echo: Bearer PLACEHOLDER")
	require.NotContains(t, string(inside), secret)
	require.NotContains(t, logOf(t, c), secret)

	searched := 0
	require.NoError(t, fs.WalkDir(c.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(path, "proc/") || strings.HasPrefix(path, "sys/") {
			return nil
		}
		b, err := fs.ReadFile(c.FS(), path)
		if err == nil {
			searched++
			require.False(t, bytes.Contains(b, []byte(secret)), path)
		}
		return nil
	}))
	require.Greater(t, searched, 3)

	info, err := c.Info(t.Context())
	require.NoError(t, err)
	pids := sharing(t, info.Pid)
	require.GreaterOrEqual(t, len(pids), 2)
	for _, pid := range pids {
		require.False(t, inMemory(t, pid, secret), "process %s", pid)
	}
	require.True(t, inMemory(t, fmt.Sprint(info.Pid), "Bearer PLACEHOLDER"), "the search finds what is there")
}

// sharing gives the processes of a pid namespace.
func sharing(t testing.TB, pid int) (all []string) {
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	require.NoError(t, err)
	processes, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, p := range processes {
		if got, err := os.Readlink(p + "/ns/pid"); err == nil && got == want {
			all = append(all, filepath.Base(p))
		}
	}
	return all
}

// inMemory looks for a word in what a process can write to, where words go.
func inMemory(t testing.TB, pid, word string) bool {
	maps, err := os.ReadFile("/proc/" + pid + "/maps")
	require.NoError(t, err)
	mem, err := os.Open("/proc/" + pid + "/mem")
	require.NoError(t, err)
	defer mem.Close()
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		const window = 1 << 20
		for at := from; at < to; at += window {
			b := make([]byte, min(to-at, window+int64(len(word))))
			n, _ := mem.ReadAt(b, at)
			if bytes.Contains(b[:n], []byte(word)) {
				return true
			}
		}
	}
	return false
}
