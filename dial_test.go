package ctor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/fixture"
)

func TestDialErrors(t *testing.T) {
	dir, err := os.MkdirTemp("", "ctor-cd-")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	listen := func(name string) (string, *net.UnixListener) {
		path := filepath.Join(dir, name)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		return path, l
	}
	stale, l := listen("stale")
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	silent, _ := listen("silent")
	rude, l := listen("rude")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			c.Close()
		}
	}()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	root := filepath.Join(dir, "root")
	for name, test := range map[string]struct {
		address string
		cfg     ctor.Config
		class   error
		says    string
	}{
		"no socket":     {dir + "/none", ctor.Config{}, ctor.ErrUnavailable, "dial containerd at " + dir + "/none: connect: no such file or directory (unavailable): is it running? start it, for one with: systemctl start containerd"},
		"nobody there":  {stale, ctor.Config{}, ctor.ErrUnavailable, "connect: connection refused (unavailable): is it running?"},
		"a file":        {file, ctor.Config{}, ctor.ErrUnavailable, "connect: connection refused (unavailable)"},
		"says nothing":  {silent, ctor.Config{}, context.DeadlineExceeded, "dial containerd at " + silent},
		"somebody else": {rude, ctor.Config{}, ctor.ErrUnavailable, "dial containerd at " + rude + ": no answer, or not containerd's: "},
		"bad namespace": {silent, ctor.Config{Namespace: "a/b"}, ctor.ErrInvalid, "namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			before := fixture.Measure(t)
			ctx := t.Context()
			if errors.Is(test.class, context.DeadlineExceeded) {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
			}
			test.cfg.Root = root
			_, err := ctor.Dial(ctx, test.address, test.cfg)
			require.ErrorIs(t, err, test.class)
			require.ErrorContains(t, err, test.says)
			require.NoDirExists(t, root)
			before.Same(t)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ctor.Dial(ctx, silent, ctor.Config{Root: root})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, unix.Access(root, unix.F_OK), unix.ENOENT)
}
