package container_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

func init() {
	helpers["serve"] = func(context.Context) error { return serve(os.Getenv(serveEnv) != "") }
}

// serveEnv has the server listen in the places that only a container is asked
// for.
const serveEnv = "CTOR_TEST_SERVE"

// A server is what the test binary serves, in a container or on the host, on
// ports that the kernel has chosen.
type server struct {
	Echo    string // says what it hears
	Echo6   string // the same on ::1 only
	UDP     string // the same by packets
	Discard string // reads
	Relay   string // connects to the network and address of the first line, and copies
}

const (
	echoPath     = "/run/echo.sock"
	echoAbstract = "@echo"
	packetPath   = "/run/packet.sock"
	gramPath     = "/run/gram.sock"
)

func serve(inside bool) error {
	listen := func(network, address string, handle func(net.Conn)) string {
		l, err := net.Listen(network, address)
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					panic(err)
				}
				go func() {
					defer c.Close()
					handle(c)
				}()
			}
		}()
		return l.Addr().String()
	}
	s := server{
		Echo:    listen("tcp", "127.0.0.1:0", echo),
		Echo6:   listen("tcp6", "[::1]:0", echo),
		Discard: listen("tcp", "127.0.0.1:0", func(c net.Conn) { _, _ = io.Copy(sink{}, c) }),
		Relay:   listen("tcp", "127.0.0.1:0", relay),
		UDP:     echoPackets("udp", "127.0.0.1:0"),
	}
	if inside {
		listen("unix", echoPath, echo)
		listen("unix", echoAbstract, echo)
		listen("unixpacket", packetPath, echo)
		echoPackets("unixgram", gramPath)
	}
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		return err
	}
	select {}
}

// sink is a writer that io.Copy writes to, in pieces of the size that programs
// use.
type sink struct{}

func (sink) Write(p []byte) (int, error) { return len(p), nil }

func echo(c net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func echoPackets(network, address string) string {
	p, err := net.ListenPacket(network, address)
	if err != nil {
		panic(err)
	}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(os.Stderr, "packet %s\n", b[:n])
			if from != nil {
				_, _ = p.WriteTo(b[:n], from)
			}
		}
	}()
	return p.LocalAddr().String()
}

func relay(c net.Conn) {
	in := bufio.NewReader(c)
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	var network, address string
	if _, err := fmt.Sscan(line, &network, &address); err != nil {
		return
	}
	to, err := net.Dial(network, address)
	if err != nil {
		fmt.Fprintln(c, err)
		return
	}
	defer to.Close()
	fmt.Fprintln(c, "connected")
	go func() { _, _ = io.Copy(to, in) }()
	_, _ = io.Copy(c, to)
}

// serving runs the test binary as a server in a container.
func serving(t testing.TB, cfg container.Config) (*container.Container, server) {
	t.Helper()
	cfg = serverConfig(t, cfg)
	c := containertest.Run(t, busybox(t), cfg)
	return c, announced(t, follow(t, c))
}

func serverConfig(t testing.TB, cfg container.Config) container.Config {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cfg.Args = []string{"/server"}
	cfg.Env = append(cfg.Env, fixture.ProgramVar+"=serve", serveEnv+"=inside")
	cfg.Mounts = append(cfg.Mounts,
		container.Mount{Source: self, Target: "/server", ReadOnly: true},
		container.Mount{Type: container.Tmpfs, Target: "/run"},
	)
	for _, dir := range []string{"/lib", "/lib64"} { // where the binary needs libraries
		if _, err := os.Stat(dir); err == nil {
			cfg.Mounts = append(cfg.Mounts, container.Mount{Source: dir, Target: dir, ReadOnly: true})
		}
	}
	return cfg
}

// announced reads where a server listens.
func announced(t testing.TB, r io.Reader) (s server) {
	t.Helper()
	line, err := bufio.NewReader(r).ReadBytes('\n')
	require.NoError(t, err, "%s", line)
	require.NoError(t, json.Unmarshal(line, &s), "%s", line)
	return s
}

// servingHere runs the same server on the host.
func servingHere(t testing.TB) server {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fixture.ProgramVar+"=serve")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return announced(t, out)
}

// exchange has an echo server say something.
func exchange(t testing.TB, c net.Conn) {
	t.Helper()
	said := []byte("are you there")
	_, err := c.Write(said)
	require.NoError(t, err)
	heard := make([]byte, len(said))
	_, err = io.ReadFull(c, heard)
	require.NoError(t, err)
	require.Equal(t, said, heard)
}
