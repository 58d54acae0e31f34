package container_test

import (
	"github.com/ctorhq/ctor/internal/fixture"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

func initialized(script string) container.Config {
	cfg := sh(script)
	cfg.Init = true
	return cfg
}

// The exit code is the command's, whatever else ends, and what others leave behind
// is waited for.
func TestInit(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	_, _, err := output(t, img, initialized("(exit 3) & (exit 4) & sleep 0.1; exit 7"))
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 7, exit.Code)
	_, _, err = output(t, img, initialized("kill -9 $$"))
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 128+9, exit.Code)

	// The grandchildren end after their parent, and are not the command's to wait for.
	out := stdout(t, img, initialized(`
		i=0; while [ $i -lt 20 ]; do (sh -c 'sleep 0.05' &); i=$((i+1)); done
		while grep -qs '^sleep' /proc/[0-9]*/comm; do usleep 20000; done
		cat /proc/[0-9]*/stat | grep -c ') Z '; head -c 9 /proc/1/cmdline; echo; echo $$`))
	lines := strings.Split(out, "\n")
	require.Equal(t, "0", lines[0])
	require.Equal(t, "/dev/init", lines[1])
	require.NotEqual(t, "1", lines[2])
}

// A signal without a handler ends the command, which as a first process would have
// ignored it; Stop needs no patience.
func TestInitSignals(t *testing.T) {
	t.Parallel()
	c := start(t, busybox(t), initialized("echo ready; exec sleep 1000"))
	require.NoError(t, c.Signal(t.Context(), syscall.SIGTERM))
	require.Equal(t, 128+int(syscall.SIGTERM), exitOf(t, c).Code)
	c = start(t, busybox(t), initialized("trap 'echo got; exit 5' USR1; echo ready; while true; do sleep 0.05; done"))
	require.NoError(t, c.Signal(t.Context(), syscall.SIGUSR1))
	require.Equal(t, 5, exitOf(t, c).Code)
}

// A command without a path is looked for as a shell does, by any user and with a root
// that can't be written.
func TestInitLookup(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	cfg := container.Config{Args: []string{"id", "-u"}, Init: true, User: "1000"}
	require.Equal(t, "1000\n", stdout(t, busybox(t), cfg))
	cfg.Env = []string{"PATH=/nothing:/bin"}
	require.Equal(t, "1000\n", stdout(t, busybox(t), cfg))
	cfg.TTY = true
	c := containertest.Run(t, busybox(t), container.Config{Args: []string{"sh", "-c", "tty; echo ready; read x; echo $x"}, Init: true, TTY: true, Stdin: strings.NewReader("hello\n")})
	require.NoError(t, c.Wait(t.Context()))
	require.Contains(t, logs(t, c), "/dev/pts/0")
	require.Contains(t, logs(t, c), "hello")
	_, err := busybox(t).New(t.Context(), container.Config{Args: []string{"nothing"}, Init: true})
	require.ErrorContains(t, err, "nothing")
}
