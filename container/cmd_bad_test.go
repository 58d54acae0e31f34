package container_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

// Each of these fails in Start, at once, says why in a sentence, and leaves
// nothing.
func TestCmdBad(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img, err := fixture.Busybox(t, e).Derive(t.Context(), "ctor.test/bad", nil, layer.FromFS(cmdFiles, nil))
	require.NoError(t, err)
	c, err := img.Run(t.Context(), sh("sleep 1000"))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Command(t.Context(), "true").Run())
	require.NoError(t, img.Command(t.Context(), "true").Run())
	before := fixture.Count(t, e)
	for _, test := range []struct {
		name  string
		edit  func(*container.Cmd)
		class error
		says  string
	}{
		{"nope", nil, exec.ErrNotFound, `command "nope": the THING has none on its PATH /bin`},
		{"nope", nil, ctor.ErrNotFound, `start command "nope" in `},
		{"/bin/nope", nil, exec.ErrNotFound, `the THING has no /bin/nope`},
		{"/opt/data", nil, fs.ErrPermission, `/opt/data is not executable, its mode is -rw-r--r--`},
		{"/opt/data", nil, ctor.ErrInvalid, ``},
		{"/opt", nil, fs.ErrPermission, `/opt is no file, its mode is d`},
		{"/opt/text", nil, ctor.ErrInvalid, `neither a program nor a script that begins with #!`},
		{"/opt/noshell", nil, exec.ErrNotFound, `/opt/noshell needs /nope/bash, which the THING does not have`},
		{"/opt/crlf", nil, ctor.ErrNotFound, `/opt/crlf needs "/bin/sh\r", since its first line ends with a carriage return`},
		{"/opt/ofdata", nil, ctor.ErrInvalid, `/opt/ofdata needs what can't be executed: /opt/data is not executable`},
		{"/opt/ofdir", nil, ctor.ErrInvalid, `/opt is no file`},
		{"/opt/oftext", nil, ctor.ErrInvalid, `/opt/text is neither a program nor a script`},
		{"/opt/itself", nil, ctor.ErrInvalid, `more scripts than may interpret each other`},
		{"/opt/ofnothing", nil, ctor.ErrInvalid, `names no interpreter`},
		{"a\x00b", nil, ctor.ErrInvalid, ``},
		{"", nil, ctor.ErrInvalid, `no command`},
		{"true", func(c *container.Cmd) { c.Args = []string{"true", "a\x00b"} }, ctor.ErrInvalid, `zero byte`},
		{"true", func(c *container.Cmd) { c.Args = append(c.Args, strings.Repeat("x", 128<<10)) }, ctor.ErrInvalid, `has 131072 bytes, and the kernel takes less than 131072`},
		{"true", many(3<<20, "x"), ctor.ErrInvalid, `a quarter of the limit of the stack`},
		// The kernel would take them. In the JSON that a shim is told they are six
		// times as long.
		{"true", many(1<<20, "\x01"), ctor.ErrInvalid, `more than a shim can be told`},
		{"true", func(c *container.Cmd) { c.Env = []string{"A"} }, ctor.ErrInvalid, `environment variable "A" is not of the form NAME=value`},
		{"true", func(c *container.Cmd) { c.Env = []string{"=x"} }, ctor.ErrInvalid, `environment variable "=x"`},
		{"true", func(c *container.Cmd) { c.Env = []string{"A=\x00"} }, ctor.ErrInvalid, `environment variable "A=\x00"`},
		{"true", func(c *container.Cmd) { c.Args = []string{"true", "caf\xe9"} }, ctor.ErrInvalid, `"true","caf\ufffd`},
		{"true", func(c *container.Cmd) { c.Env = []string{"A=\xff"} }, ctor.ErrInvalid, `"A=\ufffd`},
		{"true", func(c *container.Cmd) { c.Dir = "/nope" }, fs.ErrNotExist, `chdir /nope: no such file or directory`},
		{"true", func(c *container.Cmd) { c.Dir = "/opt/data" }, nil, `chdir /opt/data: not a directory`},
		{"true", func(c *container.Cmd) { c.User = "nope" }, ctor.ErrNotFound, `user "nope": `},
		{"true", func(c *container.Cmd) { c.User = "app:nope" }, ctor.ErrNotFound, `user "app:nope": `},
		{"true", func(c *container.Cmd) { c.User = "-1" }, ctor.ErrInvalid, `user "-1": `},
		{"true", func(c *container.Cmd) { c.User = "a\nb" }, ctor.ErrInvalid, `not a name`},
		{"true", func(c *container.Cmd) { c.Stdout = closedFile(t) }, os.ErrClosed, `closed`},
		{"true", func(c *container.Cmd) { c.Stdin = closedFile(t) }, os.ErrClosed, `closed`},
	} {
		for thing, cmd := range map[string]*container.Cmd{
			"container": c.Command(t.Context(), test.name),
			"image":     img.Command(t.Context(), test.name),
		} {
			if test.edit != nil {
				test.edit(cmd)
			}
			err := cmd.Start()
			if test.class != nil {
				require.ErrorIs(t, err, test.class, "%s %s", thing, test.name)
			}
			require.ErrorContains(t, err, strings.ReplaceAll(test.says, "THING", thing))
			require.Less(t, len(err.Error()), 500, "a sentence")
			before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
		}
	}
	require.Error(t, new(container.Cmd).Run(), "made by nobody")
	require.Error(t, new(container.Cmd).Wait())
}

// many gives a command so many bytes of arguments.
func many(bytes int, of string) func(*container.Cmd) {
	const each = 64 << 10
	return func(c *container.Cmd) {
		c.Args = append(c.Args, slices.Repeat([]string{strings.Repeat(of, each)}, bytes/each)...)
	}
}

// What the kernel takes runs.
func TestCmdManyArguments(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	for _, cmd := range []*container.Cmd{idle(t).Command(t.Context(), "true"), img.Command(t.Context(), "true")} {
		many(1<<20, "x")(cmd)
		require.NoError(t, cmd.Run())
	}
}

func closedFile(t *testing.T) *os.File {
	f := tempFile(t, "")
	require.NoError(t, f.Close())
	return f
}

// In a container that does not run there is no command, and never a wait.
func TestCmdNotRunning(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	img := busybox(t)
	c, err := img.New(t.Context(), sh("sleep 1000"))
	require.NoError(t, err)
	defer c.Close()
	fails := func(class error, says string) {
		t.Helper()
		err := c.Command(t.Context(), "true").Run()
		require.ErrorIs(t, err, class)
		require.ErrorContains(t, err, says)
	}
	fails(ctor.ErrInvalid, "it is created, and a command needs a container that runs")
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Command(t.Context(), "true").Run())
	require.NoError(t, c.Pause(t.Context()))
	fails(ctor.ErrInvalid, "it is paused, and a command needs a container that runs")
	require.NoError(t, c.Resume(t.Context()))
	require.NoError(t, c.Command(t.Context(), "true").Run())
	require.NoError(t, c.Signal(t.Context(), os.Kill))
	_ = c.Wait(t.Context())
	fails(ctor.ErrInvalid, "it is stopped, and a command needs a container that runs")
	require.NoError(t, c.Close())
	fails(ctor.ErrNotFound, "it is closed")
}

// A command in a container that is paused can be cancelled, and one in a
// container that ends, ends.
func TestCmdEndsWithContainer(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	c := idle(t)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := c.Command(ctx, "sleep", "1000")
	require.NoError(t, cmd.Start())
	require.NoError(t, c.Pause(t.Context()))
	cancel()
	require.Equal(t, "signal killed", said(cmd.Wait()))

	c = containertest.Run(t, busybox(t), container.Config{Args: []string{"sleep", "1000"}})
	cmd = c.Command(t.Context(), "sh", "-c", "sleep 1000 & sleep 1000")
	require.NoError(t, cmd.Start())
	require.NoError(t, c.Signal(t.Context(), os.Kill))
	require.Equal(t, "signal killed", said(cmd.Wait()))
	require.ErrorIs(t, cmd.Process.Kill(), os.ErrProcessDone)
}
