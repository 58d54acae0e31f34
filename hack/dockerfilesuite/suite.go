package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ctorhq/ctor/hack/internal/foreign"
)

// buildkitd starts the test binary of package build as what it is then.
const buildkitd = `#!/bin/sh
export CTOR_TEST_BUILDKITD=1
exec %s "$@"
`

// suite is the compiled tests, and what they are run against.
type suite struct {
	dir      string // holds tree, the module's source, and bin
	frontend string
}

func (s suite) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// build compiles what is needed: some minutes the first time.
func (s suite) build(ctx context.Context) error {
	here, err := output(exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}"))
	if err != nil {
		return err
	}
	ours := filepath.Join(here, "build")
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/moby/buildkit")
	list.Dir = ours
	source, err := output(list)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	if err := os.CopyFS(s.path("tree"), os.DirFS(source)); err != nil {
		return err
	}
	if err := s.registry(); err != nil {
		return err
	}
	script := fmt.Sprintf(buildkitd, s.path("bin", "build.test"))
	if err := os.WriteFile(s.path("bin", "buildkitd"), []byte(script), 0o755); err != nil {
		return err
	}
	if err := goTool(ctx, ours, "test", "-c", "-o", s.path("bin", "build.test"), "."); err != nil {
		return err
	}
	if err := goTool(ctx, s.path("tree"), "build", "-mod=mod", "-o", s.path("bin")+"/", "./cmd/buildctl"); err != nil {
		return err
	}
	return goTool(ctx, s.path("tree"), "test", "-c", "-mod=mod", "-o", s.path("suite"), "./frontend/dockerfile")
}

// registry puts this program where the tests look for another.
func (s suite) registry() error {
	if err := os.Mkdir(s.path("bin"), 0o755); err != nil {
		return err
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	to, err := os.OpenFile(s.path("bin", "registry"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, self); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}

func goTool(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	_, err := output(cmd)
	return err
}

// output runs a command and gives what it prints; its complaints are shown.
func output(cmd *exec.Cmd) (string, error) {
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// run runs the tests that match a pattern; "" is all.
func (s suite) run(ctx context.Context, pattern string) (*foreign.Outcome, error) {
	log, err := os.Create(s.path("log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	fmt.Println("log:", log.Name())
	if pattern == "" {
		pattern = ".*"
	}
	// The worker by which the tests start buildkitd, and the frontend that is its own.
	only := fmt.Sprintf("^TestIntegration$/^(?i:%s)$/^worker=oci$/^frontend=builtin$", pattern)
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
		s.path("suite"), "-test.v=test2json", "-test.timeout=60m", "-test.run", only}
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Dir = s.path("tree", "frontend", "dockerfile")
	cmd.Env = append(os.Environ(), "PATH="+s.path("bin")+":"+os.Getenv("PATH"), "FRONTEND_BUILTIN_ONLY=1", "BUILDKIT_RUN_NETWORK_INTEGRATION_TESTS=1", "CTOR_TEST_FRONTEND="+s.frontend, mirrorDir+"="+s.path("mirror"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	got, err := foreign.Follow(io.TeeReader(out, log), nameOf)
	if werr := cmd.Wait(); err == nil && werr != nil && len(got.Failed) == 0 {
		err = fmt.Errorf("%w: see %s", werr, log.Name())
	}
	return got, err
}

// matrix is what the tests are run with, besides worker and frontend.
var matrix = []string{"security.insecure", "network.host", "env"}

// nameOf shortens the name of a test: all are parts of one, and are named by what
// they are run with, of which only what differs counts.
func nameOf(test string) string {
	_, test, _ = strings.Cut(test, "TestIntegration/")
	name, with, _ := strings.Cut(test, "/worker=oci/frontend=builtin")
	first, rest, _ := strings.Cut(strings.TrimPrefix(with, "/"), "/")
	if key, _, ok := strings.Cut(first, "="); ok && slices.Contains(matrix, key) {
		name, first = name+":"+first, rest
	}
	if first != "" {
		name += "/" + first
	}
	return name
}
