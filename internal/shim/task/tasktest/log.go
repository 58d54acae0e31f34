package tasktest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/shim/link"
)

// script makes a logger, and gives its URI. PATH is not set for it.
func (b *bed) script(text string) string {
	b.Helper()
	path := filepath.Join(b.dir, "logger.sh")
	text = "#!/bin/sh\nPATH=/bin:/usr/bin\n" + text
	// What is forked meanwhile would hold it open for writing, and then nobody
	// can execute it (golang/go#22315).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	require.NoError(b, os.WriteFile(path, []byte(text), 0o755))
	return "binary://" + path
}

func (b *bed) reads(path, want string) {
	b.Helper()
	b.soon("log "+path, func() bool {
		text, _ := os.ReadFile(path)
		return string(text) == want
	})
}

// kept gives what is in a log that the shim has written, and is complete.
func (b *bed) kept(path string, o logfile.Options) string {
	b.Helper()
	require.NoError(b, logfile.Complete(b.ctx, path), "it has an end")
	r, err := logfile.Open(b.ctx, path, o)
	require.NoError(b, err)
	defer r.Close()
	text, err := io.ReadAll(r)
	require.NoError(b, err)
	return string(text)
}

var bothStreams = logfile.Options{Stdout: true, Stderr: true}

var logs = map[string]func(*bed){
	"own": func(b *bed) {
		path := filepath.Join(b.dir, "a log")
		x := b.start(setup{args: []string{"sh", "-c", "echo out; echo err >&2; exit 9"}, out: link.LogURI(path, 0).String()})
		require.EqualValues(b, 9, x.wait())
		require.ElementsMatch(b, []string{"out", "err"}, strings.Fields(b.kept(path, bothStreams)))
		require.Equal(b, "err\n", b.kept(path, logfile.Options{Stderr: true}))
		x.delete()
	},
	"own, complete when the end is told": func(b *bed) {
		for i := range often(20) {
			path := filepath.Join(b.dir, fmt.Sprint("log", i))
			x := b.start(setup{args: []string{"sh", "-c", "yes 0123456789abcde | head -c 1000000; echo -n end"}, out: link.LogURI(path, 0).String()})
			require.Zero(b, x.wait())
			text := b.kept(path, bothStreams)
			require.Len(b, text, 1000003)
			require.True(b, strings.HasSuffix(text, "end"))
			x.delete()
		}
	},
	"own of a terminal": func(b *bed) {
		for i := range often(20) {
			path := filepath.Join(b.dir, fmt.Sprint("log", i))
			x := b.start(setup{args: []string{"sh", "-c", "yes | head -n 10000; echo err >&2"}, out: link.LogURI(path, 0).String(), tty: true})
			require.Zero(b, x.wait())
			text := b.kept(path, logfile.Options{Stdout: true})
			require.Equal(b, strings.Repeat("y\r\n", 10000)+"err\r\n", text)
			x.delete()
		}
	},
	"own, with a limit": func(b *bed) {
		path := filepath.Join(b.dir, "log")
		x := b.start(setup{args: []string{"sh", "-c", "yes | head -c 10000000; echo end"}, out: link.LogURI(path, 1<<20).String()})
		require.Zero(b, x.wait())
		text := b.kept(path, bothStreams)
		require.Less(b, len(text), 1<<20)
		require.True(b, strings.HasSuffix(text, "y\nend\n"))
		x.delete()
	},
	"own, of what shares the host's pid namespace": func(b *bed) {
		path := filepath.Join(b.dir, "log")
		x := b.start(setup{args: []string{"sh", "-c", "setsid sleep 1000 & echo done"}, edit: hostPids, out: link.LogURI(path, 0).String()})
		require.Zero(b, x.wait())
		require.Equal(b, "done\n", b.kept(path, bothStreams))
		x.delete()
	},
	"own, of one that is killed before it starts": func(b *bed) {
		path := filepath.Join(b.dir, "log")
		x := b.create(setup{args: []string{"true"}, out: link.LogURI(path, 0).String()})
		x.end()
		require.Empty(b, b.kept(path, bothStreams))
	},
	"own, of a command that is not there": func(b *bed) {
		path := filepath.Join(b.dir, "log")
		_, err := b.tryCreate(b.ctx, setup{args: []string{"nosuch"}, out: link.LogURI(path, 0).String()})
		require.Error(b, err)
		require.Empty(b, b.left())
	},
	"own that can't be": func(b *bed) {
		for _, uri := range []string{"ctor-log:///nosuch/log?limit=0", "ctor-log:///log", "ctor-log:log?limit=0"} {
			_, err := b.tryCreate(b.ctx, setup{args: []string{"true"}, out: uri})
			require.Error(b, err)
		}
	},
	"file": func(b *bed) {
		path := filepath.Join(b.dir, "new", "log")
		for range 2 {
			x := b.start(setup{args: []string{"sh", "-c", "echo out; echo err >&2"}, out: "file://" + path})
			require.Zero(b, x.wait())
			x.delete()
		}
		text, err := os.ReadFile(path)
		require.NoError(b, err)
		require.Equal(b, "out\nerr\nout\nerr\n", string(text))
	},
	"binary": func(b *bed) {
		path := filepath.Join(b.dir, "log")
		uri := b.script(`echo $CONTAINER_NAMESPACE $CONTAINER_ID $1 $2 >$2
echo >&5
exec 5>&-
cat <&3 >>$2
cat <&4 >>$2
`) + "?to=" + path
		x := b.start(setup{args: []string{"sh", "-c", "echo out; echo err >&2; exit 9"}, out: uri})
		require.EqualValues(b, 9, x.wait())
		b.reads(path, "tasktest "+x.id+" to "+path+"\nout\nerr\n")
		x.delete()
	},
	"binary of a terminal": func(b *bed) {
		path := filepath.Join(b.dir, "log")
		uri := b.script("echo >&5\nexec 5>&-\ncat <&3 >" + path + "\n")
		x := b.start(setup{args: []string{"echo", "out"}, out: uri, tty: true})
		require.Zero(b, x.wait())
		b.reads(path, "out\r\n")
		x.delete()
	},
	"binary that never gets ready": func(b *bed) {
		ctx, cancel := context.WithCancel(b.ctx)
		defer cancel()
		uri := b.script("echo $$ >" + b.dir + "/pid\nexec sleep 1000\n")
		failed := make(chan error, 1)
		go func() {
			_, err := b.tryCreate(ctx, setup{args: []string{"true"}, out: uri})
			failed <- err
		}()
		var pid string
		b.soon("the logger", func() bool {
			text, _ := os.ReadFile(filepath.Join(b.dir, "pid"))
			pid = string(text)
			return strings.HasSuffix(pid, "\n")
		})
		cancel()
		require.ErrorContains(b, <-failed, "ready")
		require.NoDirExists(b, "/proc/"+strings.TrimSpace(pid), "it is killed")
		require.Empty(b, b.left())
	},
	"binary that dies": func(b *bed) {
		_, err := b.tryCreate(b.ctx, setup{args: []string{"true"}, out: b.script("exit 1\n")})
		require.ErrorContains(b, err, "ready")
		require.Empty(b, b.left())
	},
	"binary that is not there": func(b *bed) {
		_, err := b.tryCreate(b.ctx, setup{args: []string{"true"}, out: "binary:///nosuch/logger"})
		require.ErrorContains(b, err, "/nosuch/logger")
	},
	"a scheme that nobody knows": func(b *bed) {
		_, err := b.tryCreate(b.ctx, setup{args: []string{"true"}, out: "npipe://x"})
		require.Error(b, err)
	},
	"a file where a fifo should be": func(b *bed) {
		path := filepath.Join(b.dir, "plain")
		require.NoError(b, os.WriteFile(path, nil, 0o600))
		_, err := b.tryCreate(b.ctx, setup{args: []string{"true"}, out: path})
		require.ErrorContains(b, err, "fifo")
	},
}
