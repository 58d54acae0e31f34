package network_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/nft/nfttest"
	"github.com/ctorhq/ctor/network"
)

func TestMain(m *testing.M) {
	fixture.RunProgram(map[string]func([]string) error{"networks": networks, "flood": flood})
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// Containers are waited for more than they compute.
		_ = flag.Set(f.Name, strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	}
	os.Exit(m.Run())
}

func busybox(t testing.TB) *image.Image { return fixture.Busybox(t, containertest.Engine(t)) }

// open makes a network that ends with the test.
func open(t testing.TB, cfg network.Config) *network.Network {
	t.Helper()
	n, err := network.New(t.Context(), containertest.Engine(t), cfg)
	if errors.Is(err, ctor.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Remove(context.Background())) })
	return n
}

// idle runs a container that does nothing, in a network.
func idle(t testing.TB, n container.Network, more ...func(*container.Config)) *container.Container {
	t.Helper()
	cfg := container.Config{Network: n, Args: []string{"sleep", "1000"}}
	for _, f := range more {
		f(&cfg)
	}
	return containertest.Run(t, busybox(t), cfg)
}

func named(name string) func(*container.Config) {
	return func(cfg *container.Config) { cfg.Name = name }
}

// say runs a shell script in a container, and gives what it said, also if it
// failed.
func say(t testing.TB, c *container.Container, script string) string {
	t.Helper()
	out, err := c.Command(t.Context(), "sh", "-c", script).CombinedOutput()
	var exit *container.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return string(out)
}

// serve has this program listen in a container, as a server there would, and say
// text to each who connects.
func serve(t testing.TB, c *container.Container, port int, text string) {
	t.Helper()
	l, err := c.Listen(t.Context(), "tcp", fmt.Sprintf(":%d", port))
	require.NoError(t, err)
	go answer(l, text)
}

func answer(l net.Listener, text string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.WriteString(conn, text)
		}()
	}
}

// outside is what the host has of networks: links, addresses, routes, rules,
// settings, and namespaces with a name.
func outside(t testing.TB) string {
	var all bytes.Buffer
	for _, command := range [][]string{{"ip", "link"}, {"ip", "address"}, {"ip", "route", "show", "table", "all"}, {"ip", "-6", "route", "show", "table", "all"}, {"ip", "rule"}, {"ip", "netns"}} {
		if _, err := exec.LookPath(command[0]); err != nil {
			continue
		}
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		fmt.Fprintf(&all, "%s\n%s", strings.Join(command, " "), out)
	}
	all.WriteString(nfttest.Ruleset(t))
	settings, err := filepath.Glob("/proc/sys/net/ipv[46]/*")
	require.NoError(t, err)
	more, err := filepath.Glob("/proc/sys/net/ipv[46]/conf/*/*")
	require.NoError(t, err)
	for _, name := range append(settings, more...) {
		if value, err := os.ReadFile(name); err == nil {
			fmt.Fprintf(&all, "%s %s", name, value)
		}
	}
	return all.String()
}
