package main

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/fixture"
)

// screen is a terminal with a program in it.
type screen struct {
	console.Console
	t    *testing.T
	seen strings.Builder
}

// types sends what a person types.
func (s *screen) types(keys string) {
	s.t.Helper()
	_, err := io.WriteString(s, keys)
	require.NoError(s.t, err)
}

// shows waits until the terminal has shown a text since the last call.
func (s *screen) shows(text string) {
	s.t.Helper()
	b := make([]byte, 4096)
	for !strings.Contains(s.seen.String(), text) {
		n, err := s.Read(b)
		require.NoError(s.t, err, "waiting for %q, after %q", text, s.seen.String())
		s.seen.Write(b[:n])
	}
	_, rest, _ := strings.Cut(s.seen.String(), text)
	s.seen.Reset()
	s.seen.WriteString(rest)
}

// A person works in the box: keys go in one by one, ^C is the box's, the size is
// the terminal's, and the terminal is as it was when the program has ended.
func TestTerminal(t *testing.T) {
	t.Parallel()
	root := prepared(t, fixture.Busybox)
	pty, path, err := console.NewPty()
	require.NoError(t, err)
	defer pty.Close()
	tty, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	defer tty.Close()
	require.NoError(t, pty.Resize(console.WinSize{Width: 91, Height: 17}))

	cmd := fixture.Program("sandbox", "-root", root, "-image", ref, "shell")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	// A Read of the terminal ends when no process has its other end any more.
	patience := time.AfterFunc(fixture.Patience, func() { _, _ = cmd.Process.Kill(), tty.Close() })
	defer patience.Stop()

	s := &screen{Console: pty, t: t}
	s.shows("# ")
	s.types("stty size\r")
	s.shows("\r\n17 91\r\n")
	s.types("echo looking; while [ \"$(stty size)\" != '40 120' ]; do :; done; echo larger\r")
	s.shows("\r\nlooking\r\n")
	require.NoError(t, pty.Resize(console.WinSize{Width: 120, Height: 40}))
	s.shows("larger\r\n")
	s.types("sh -c 'echo asleep; exec sleep 1000'\r")
	s.shows("\r\nasleep\r\n")
	s.types("\x03")
	s.shows("^C")
	s.types("echo $?\r")
	s.shows("\r\n130\r\n")
	s.types("exit 5\r")
	require.EqualError(t, <-ended, "exit status 5")

	_, err = io.WriteString(tty, "a\nb")
	require.NoError(t, err)
	s.shows("a\r\nb") // no longer raw
	onlyFiles(t, root)
}
