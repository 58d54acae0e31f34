package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
)

// cmd is what exec.Cmd and container.Cmd have in common.
type cmd struct {
	commander
	Path           *string
	Args, Env      *[]string
	Dir            *string
	Stdin          *io.Reader
	Stdout, Stderr *io.Writer
	Cancel         *func() error
	WaitDelay      *time.Duration
	process        func() process
}

type commander interface {
	fmt.Stringer
	Run() error
	Start() error
	Wait() error
	Output() ([]byte, error)
	CombinedOutput() ([]byte, error)
	StdinPipe() (io.WriteCloser, error)
	StdoutPipe() (io.ReadCloser, error)
	StderrPipe() (io.ReadCloser, error)
	Environ() []string
}

type process interface {
	Kill() error
	Signal(os.Signal) error
}

// kit makes commands of one kind, all with the same files.
type kit struct {
	command func(ctx context.Context, name string, arg ...string) *cmd
	root    string // where the files of the command's world lie, on this host
}

// at names a file for a command.
func (k kit) at(name string) string { return filepath.Join("/", k.root, name) }

// cmdFiles is what commands in the table meet, beside busybox.
var cmdFiles = fstest.MapFS{
	"opt/tool":      {Data: []byte("#!/bin/sh\necho tool in $PWD\n"), Mode: 0o755},
	"opt/text":      {Data: []byte("hello\n"), Mode: 0o755},
	"opt/noshell":   {Data: []byte("#!/nope/bash\n"), Mode: 0o755},
	"opt/crlf":      {Data: []byte("#!/bin/sh\r\necho hi\r\n"), Mode: 0o755},
	"opt/ofdata":    {Data: []byte("#!/opt/data\n"), Mode: 0o755},
	"opt/ofdir":     {Data: []byte("#!/opt\n"), Mode: 0o755},
	"opt/oftext":    {Data: []byte("#! /opt/text\n"), Mode: 0o755},
	"opt/itself":    {Data: []byte("#!\t/opt/itself x\n"), Mode: 0o755},
	"opt/ofnothing": {Data: []byte("#! \n"), Mode: 0o755},
	"opt/data":      {Data: []byte("one\ntwo\n"), Mode: 0o644},
	"opt/dir/file":  {},
}

// programs makes commands of this host, by os/exec.
func programs(t *testing.T) kit {
	root := t.TempDir()
	require.NoError(t, os.CopyFS(root, cmdFiles))
	bin := filepath.Join(root, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	for _, name := range []string{"cat", "echo", "env", "false", "head", "pwd", "sh", "sleep", "tail", "true", "wc", "yes"} {
		require.NoError(t, os.Symlink("/bin/busybox", filepath.Join(bin, name)))
	}
	return kit{root: root, command: func(ctx context.Context, name string, arg ...string) *cmd {
		c := exec.CommandContext(ctx, name, arg...)
		if filepath.Base(name) == name {
			// As if PATH were that directory alone, which would be so for the
			// whole test binary.
			if c.Path, c.Err = exec.LookPath(filepath.Join(bin, name)); c.Err != nil {
				c.Path, c.Err = name, &exec.Error{Name: name, Err: exec.ErrNotFound}
			}
		}
		return &cmd{c, &c.Path, &c.Args, &c.Env, &c.Dir, &c.Stdin, &c.Stdout, &c.Stderr, &c.Cancel, &c.WaitDelay,
			func() process { return c.Process }}
	}}
}

func contained(command func(ctx context.Context, name string, arg ...string) *container.Cmd) kit {
	return kit{command: func(ctx context.Context, name string, arg ...string) *cmd {
		c := command(ctx, name, arg...)
		return &cmd{c, &c.Path, &c.Args, &c.Env, &c.Dir, &c.Stdin, &c.Stdout, &c.Stderr, &c.Cancel, &c.WaitDelay,
			func() process { return c.Process }}
	}}
}

// cmdImage is busybox with the table's files.
func cmdImage(t *testing.T) *image.Image {
	img, err := busybox(t).Derive(t.Context(), "ctor.test/cmd", nil, layer.FromFS(cmdFiles, nil))
	require.NoError(t, err)
	return img
}

// kits are all there are.
func kits(t *testing.T) (host kit, others map[string]kit) {
	img := cmdImage(t)
	c := containertest.Run(t, img, container.Config{Args: []string{"sleep", "1000"}, StopTimeout: -1})
	return programs(t), map[string]kit{"container": contained(c.Command), "image": contained(img.Command)}
}

// said puts an error in words that are the same for both.
func said(err error) string {
	if err == nil {
		return "ok"
	}
	var theirs *exec.ExitError
	var ours *container.ExitError
	switch {
	case errors.As(err, &theirs):
		if ws := theirs.Sys().(syscall.WaitStatus); ws.Signaled() {
			return fmt.Sprint("signal ", ws.Signal())
		}
		return fmt.Sprint("exit ", theirs.ExitCode())
	case errors.As(err, &ours):
		if ours.Signal != 0 {
			return fmt.Sprint("signal ", ours.Signal)
		}
		return fmt.Sprint("exit ", ours.Code)
	}
	var words []string
	for _, class := range []error{
		exec.ErrNotFound, fs.ErrPermission, exec.ErrWaitDelay, os.ErrProcessDone, os.ErrClosed,
		context.Canceled, context.DeadlineExceeded, errDisk, errBroken, unix.ENOEXEC, unix.ENOTDIR, unix.EPIPE,
	} {
		if errors.Is(err, class) {
			words = append(words, class.Error())
		}
	}
	if len(words) == 0 {
		return "error"
	}
	return strings.Join(words, ", ")
}

// stderrOf is what an exit error has of the standard error.
func stderrOf(err error) string {
	var theirs *exec.ExitError
	var ours *container.ExitError
	switch {
	case errors.As(err, &theirs):
		return string(theirs.Stderr)
	case errors.As(err, &ours):
		return string(ours.Stderr)
	}
	return "none"
}

var errBroken = errors.New("broken")

// safe is a buffer for several goroutines.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
