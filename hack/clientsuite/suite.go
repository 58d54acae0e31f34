package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/ctorhq/ctor/hack/internal/foreign"
)

const (
	containerd = "github.com/containerd/containerd/v2"
	library    = "github.com/ctorhq/ctor"

	// The plugins that bring Kubernetes, LVM and tracing are left out.
	tags = "no_cri,no_btrfs,no_devmapper,no_zfs,no_tracing"

	// runtime is what TEST_RUNTIME has containers run by, as link.Runtime.
	runtime = "io.containerd.ctor.v2"
)

// suite is the compiled tests, and what they are run against.
type suite struct {
	way string // one of ways
	dir string // holds tree, the module's source, and bin
}

func (s suite) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// build compiles what is needed: a minute or two the first time.
func (s suite) build(ctx context.Context) error {
	source, err := output(exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", containerd))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	if err := os.CopyFS(s.path("tree"), os.DirFS(source)); err != nil {
		return err
	}
	if err := os.Mkdir(s.path("bin"), 0o755); err != nil {
		return err
	}
	if s.way == "engine" {
		if err := s.embed(ctx); err != nil {
			return err
		}
	} else if err := s.tool(ctx, "build", "-tags", tags, "-o", s.path("bin")+"/", "./cmd/containerd", "./cmd/containerd-shim-runc-v2", "./integration/failpoint/cmd/runc-fp"); err != nil {
		return err
	}
	return s.tool(ctx, "test", "-c", "-mod=mod", "-tags", tags, "-o", s.path("suite"), "./integration/client")
}

func (s suite) tool(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = s.path("tree")
	_, err := output(cmd)
	return err
}

//go:embed testdata/embedded.go
var embedded []byte

// edits have the suite make its clients over an engine, and ask the service for
// what the client itself does by its connection alone. All else is as it was.
var edits = []struct{ from, to string }{
	{`(?m)^func TestMain\(`, "func daemonMain("},
	{`\bNew\((address|ctrd\.addr)\b`, "embedded(New, $1"},
	{`\bclient\.Transfer\(`, "client.TransferService().Transfer("},
}

// embed puts the engine below the tests.
func (s suite) embed(ctx context.Context) error {
	here, err := output(exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", library))
	if err != nil {
		return err
	}
	files, err := filepath.Glob(s.path("tree", "integration", "client", "*_test.go"))
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		for _, e := range edits {
			text = regexp.MustCompile(e.from).ReplaceAll(text, []byte(e.to))
		}
		if err := os.WriteFile(f, text, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(s.path("tree", "integration", "client", "embedded_test.go"), embedded, 0o644); err != nil {
		return err
	}
	return s.tool(ctx, "mod", "edit", "-require="+library+"@v0.0.0", "-replace="+library+"="+here)
}

// run runs the tests that match pattern. One that panics takes those with it that run
// at the same time, so it runs by itself.
func (s suite) run(ctx context.Context, pattern string, environment []string) (*foreign.Outcome, error) {
	log, err := os.Create(s.path("log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	fmt.Println("log:", log.Name())
	skip := []string{unfit}
	if s.way != "engine" {
		return s.test(ctx, log, environment, pattern, skip)
	}
	skip = append(skip, anyOf(daemons))
	all, err := s.test(ctx, log, environment, pattern, append(skip, anyOf(panicking)))
	if err != nil {
		return nil, err
	}
	named := regexp.MustCompile(pattern)
	for _, t := range slices.DeleteFunc(slices.Clone(panicking), func(t string) bool { return !named.MatchString(t) }) {
		one, err := s.test(ctx, log, environment, "^"+t+"$", skip)
		if err != nil {
			return nil, err
		}
		all.Add(one)
	}
	return all, nil
}

// anyOf is the pattern of any of these tests.
func anyOf(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }

// test runs the test binary once.
func (s suite) test(ctx context.Context, log *os.File, environment []string, pattern string, skip []string) (*foreign.Outcome, error) {
	args := []string{s.path("suite"), "-test.v=test2json", "-test.root", "-test.timeout=8m", "-test.run", pattern, "-test.skip", strings.Join(skip, "|")}
	if os.Getenv("CRIU") == "" {
		args = append(args, "-no-criu")
	}
	// The shell reaps what loses its parent, as process 1 has to. All that is
	// mounted and all that runs ends with it.
	const script = `mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && "$@"; exit $?`
	args = append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"}, args...)
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Dir = s.path("tree", "integration", "client")
	cmd.Env = append(os.Environ(), environment...)
	cmd.Env = append(cmd.Env, "PATH="+s.path("bin")+":"+os.Getenv("PATH"))
	if s.way == "shim" {
		cmd.Env = append(cmd.Env, "TEST_RUNTIME="+runtime)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = log
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd.Stdout = write
	err = cmd.Start()
	write.Close()
	if err != nil {
		return nil, err
	}
	got, err := foreign.Follow(io.TeeReader(read, log), nil)
	if werr := cmd.Wait(); err == nil && werr != nil && len(got.Failed) == 0 {
		err = fmt.Errorf("%w: see %s", werr, log.Name())
	}
	return got, err
}
