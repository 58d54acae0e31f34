package task

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logger")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755))
	return path
}

func TestLogger(t *testing.T) {
	to := filepath.Join(t.TempDir(), "log")
	path := script(t, `echo "$CONTAINER_NAMESPACE $CONTAINER_ID $# $*" >`+to+`
echo >&5
exec 5>&-
while read line <&3; do echo "out $line" >>`+to+`; done
while read line <&4; do echo "err $line" >>`+to+`; done
`)
	l, out, errs, err := startLogger(t.Context(), "binary://"+path+"?b=2&a=1&c", "ns", "id")
	require.NoError(t, err)
	_, err = out.WriteString("one\n")
	require.NoError(t, err)
	_, err = errs.WriteString("two\n")
	require.NoError(t, err)
	out.Close()
	errs.Close()
	l.close()
	<-l.done
	b, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "ns id 6 a 1 b 2 c \nout one\nerr two\n", string(b))
}

func TestLoggerNotReady(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, _, err := startLogger(ctx, "binary://"+script(t, "exec sleep 1000"), "ns", "id")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	for _, text := range []string{"exit 0", "exec 5>&-; exec sleep 1000"} {
		_, _, _, err = startLogger(t.Context(), "binary://"+script(t, text), "ns", "id")
		require.ErrorContains(t, err, "ready", text)
	}
}
