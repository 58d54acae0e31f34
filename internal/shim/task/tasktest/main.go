package tasktest

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/slate"
)

// applets are busybox's commands that the root file system has by name.
var applets = []string{
	"cat", "dd", "echo", "env", "false", "grep", "head", "id", "kill", "ls", "mkdir", "ps", "pwd", "setsid",
	"sh", "sleep", "stty", "tail", "test", "touch", "tr", "true", "tty", "wc", "yes",
}

// rootfs is the containers' shared, read-only root file system.
var rootfs string

// Main is for TestMain: it makes what Run needs, runs the tests, and exits.
func Main(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tasktest:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("become subreaper: %w", err)
	}
	if err := slate.Settle(2); err != nil { // as a shim does
		return 0, err
	}
	if err := lowerOpenFiles(); err != nil {
		return 0, fmt.Errorf("set limit of open files: %w", err)
	}
	dir, err := os.MkdirTemp("", "tasktest-rootfs-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := busybox(dir); err != nil {
		return 0, err
	}
	rootfs = dir
	_ = criuWorks()
	if _, err := ownOpenFiles(); err != nil {
		return 0, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	return m.Run(), nil
}

// lowerOpenFiles makes the limit of open files one that can be told from the
// hard one. By package syscall, or Go would give children another.
func lowerOpenFiles() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = l.Max - 1
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

func busybox(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, d := range []string{"bin", "dev", "etc", "proc", "run", "sys", "tmp", "root", "srv"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("%w: apt-get install busybox-static", err)
	}
	files := map[string]string{
		"bin/busybox": string(b),
		"etc/passwd":  "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n",
		"etc/group":   "root:x:0:\napp:x:1000:\n",
		// What exists and may be executed, and the kernel does not execute.
		"bin/crlf": "#!/bin/sh\r\necho hi\r\n",
		"bin/text": "#!/etc/passwd\n",
		"bin/none": "",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	for _, a := range applets {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", a)); err != nil {
			return err
		}
	}
	return nil
}
