package tasktest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// script makes a logger, and gives its URI. PATH is not set for it.
func (b *bed) script(text string) string {
	b.Helper()
	path := filepath.Join(b.dir, "logger.sh")
	text = "#!/bin/sh\nPATH=/bin:/usr/bin\n" + text
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

var logs = map[string]func(*bed){
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
		ctx, cancel := context.WithTimeout(b.ctx, 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := b.tryCreate(ctx, setup{args: []string{"true"}, out: b.script("echo $$ >" + b.dir + "/pid\nexec sleep 1000\n")})
		require.ErrorContains(b, err, "ready")
		require.Less(b, time.Since(began), 5*time.Second)
		pid, err := os.ReadFile(filepath.Join(b.dir, "pid"))
		require.NoError(b, err)
		require.NoDirExists(b, "/proc/"+strings.TrimSpace(string(pid)), "it is killed")
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
