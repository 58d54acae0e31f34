package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// tools is the module, and the version of it, that the programs are of.
const tools = "github.com/opencontainers/runtime-tools@v0.9.1-0.20221107090550-2e043c6bd626"

// suite is the compiled programs.
type suite struct{ dir string }

func (s suite) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// oci is the command line of our own.
func (s suite) oci() string { return s.path("oci") }

// build compiles all, and names the programs.
func (s suite) build(ctx context.Context) (programs []string, err error) {
	if err := output(ctx, ".", "go", "build", "-o", s.oci(), "github.com/ctorhq/ctor/hack/oci"); err != nil {
		return nil, err
	}
	if err := s.copy(ctx); err != nil {
		return nil, err
	}
	found, err := filepath.Glob(s.path("tree", "validation", "*", "*.go"))
	if err != nil {
		return nil, err
	}
	build := []string{"build", "-mod=mod", "-o", s.path("bin") + "/"}
	for _, f := range found {
		name := filepath.Base(filepath.Dir(f))
		if filepath.Base(f) == name+".go" {
			programs = append(programs, name)
			build = append(build, "./validation/"+name)
		}
	}
	if err := output(ctx, s.path("tree"), "go", build...); err != nil {
		return nil, err
	}
	// It runs in containers, which have no libraries.
	return programs, output(ctx, s.path("tree"), "env", "CGO_ENABLED=0", "go", "build", "-mod=mod", "-o", "runtimetest", "./cmd/runtimetest")
}

// copy copies the source to where it may be changed.
func (s suite) copy(ctx context.Context) error {
	if _, err := os.Stat(s.path("tree", "go.sum")); err == nil {
		return nil
	}
	if err := output(ctx, os.TempDir(), "go", "mod", "download", tools); err != nil {
		return err
	}
	modules, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return err
	}
	source := filepath.Join(strings.TrimSpace(string(modules)), tools)
	return os.CopyFS(s.path("tree"), os.DirFS(source))
}

func output(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}

// limit is how long a program may take: some wait for a container that never comes.
const limit = time.Minute

// try runs one program with a runtime. All that it leaves ends with its namespaces.
func (s suite) try(ctx context.Context, program, runtime string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	const script = `mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /tmp && "$@"; exit $?`
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", script, "sh", s.path("bin", program))
	cmd.Dir = s.path("tree")
	cmd.Env = append(os.Environ(), "RUNTIME="+runtime, "TMPDIR=/tmp")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		return result{}, cause
	}
	r := read(&out)
	if err != nil {
		r.fail("it ends well")
	}
	log := s.path("log", program+"."+filepath.Base(runtime))
	return r, errors.Join(os.MkdirAll(s.path("log"), 0o755), os.WriteFile(log, r.text, 0o644))
}

// result is what came of a program's checks.
type result struct {
	passed, skipped int
	failed          []string
	text            []byte
}

func (r result) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", r.passed, len(r.failed), r.skipped)
}

func (r *result) fail(check string) { r.failed = append(r.failed, check) }

func (r *result) add(more result) {
	r.passed += more.passed
	r.skipped += more.skipped
	r.failed = append(r.failed, more.failed...)
}

// worse are the checks that failed more often than with another runtime.
func (r result) worse(than result) (checks []string) {
	there := map[string]int{}
	for _, c := range than.failed {
		there[c]++
	}
	for _, c := range r.failed {
		if there[c]--; there[c] < 0 {
			checks = append(checks, c)
		}
	}
	return checks
}

var check = regexp.MustCompile(`^(not )?ok\b *\d*(?: - )?(.*)`)

// read reads what a program prints, the Test Anything Protocol.
func read(out *bytes.Buffer) result {
	r := result{text: bytes.Clone(out.Bytes())}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		m := check.FindStringSubmatch(lines.Text())
		switch {
		case m == nil:
		case strings.Contains(m[2], "# SKIP"):
			r.skipped++
		case m[1] == "":
			r.passed++
		default:
			r.fail(strings.TrimSpace(m[2]))
		}
	}
	return r
}
