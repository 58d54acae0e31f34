package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/fixture"
)

// world is a directory with a Dockerfile, and busybox to begin with.
func world(t *testing.T, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	busybox, err := os.ReadFile("/bin/busybox")
	require.NoError(t, err, "apt-get install busybox-static")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o755))
	text := strings.Join(append([]string{"FROM scratch", "COPY busybox /bin/sh", "COPY busybox /bin/cat"}, lines...), "\n") + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644))
	return dir
}

type result struct {
	code           int
	stdout, stderr string
}

func run(t *testing.T, width func() int, args ...string) result {
	var stdout, stderr bytes.Buffer
	p := program{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, width: width}
	code := p.run(context.WithoutCancel(t.Context()), args)
	return result{code, stdout.String(), stderr.String()}
}

func TestBuild(t *testing.T) {
	root := t.TempDir()
	dir := world(t, "ARG WHO=none", "RUN echo hello $WHO; echo $WHO > /who", `CMD ["cat", "/who"]`)
	args := []string{"-root", root, "-network", "none", "-arg", "WHO=world", "-t", "ctor.test/example:1", dir}
	got := run(t, nil, args...)
	require.Equal(t, "world\n", got.stdout, got.stderr)
	require.Zero(t, got.code)
	require.Regexp(t, `(?m)^ +\d+ \| hello world$`, got.stderr)
	require.Regexp(t, `(?m)^  \+ \[3/3\] RUN echo hello world; echo world > /who \(.*s\)$`, got.stderr)
	require.NotContains(t, got.stderr, "[internal]")

	got = run(t, nil, append(args, "sh", "-c", "exit 7")...)
	require.Equal(t, 7, got.code, got.stderr)
	require.Regexp(t, `(?m)^  = \[3/3\] RUN .* \(cached\)$`, got.stderr)

	got = run(t, nil, append([]string{"-run=false"}, args...)...)
	require.Equal(t, "ctor.test/example:1\n", got.stdout)
	require.Empty(t, fixture.Host(t, root))
}

func TestTerminal(t *testing.T) {
	dir := world(t, `RUN printf 'one\ntwo\033[2J\nthree, which is much too long for this\n'`, `CMD ["sh"]`)
	got := run(t, func() int { return 40 }, "-root", t.TempDir(), "-network", "none", dir)
	require.Zero(t, got.code, got.stderr)
	require.Contains(t, got.stderr, "three, which is much too long", "while it ran")
	require.NotContains(t, got.stderr, "\x1b[2J", "a step does not command the terminal")
	for _, line := range screen(got.stderr) {
		require.LessOrEqual(t, len([]rune(line)), 40, line)
		require.NotContains(t, line, "three", "it is gone when the step is done")
	}
	require.Regexp(t, `(?m)^  \+ \[3/3\] RUN printf .*… \S*s$`, strings.Join(screen(got.stderr), "\n"))
}

var upwards = regexp.MustCompile(`^\x1b\[(\d+)A\x1b\[J`)

// screen is what a terminal shows in the end.
func screen(written string) (lines []string) {
	for line := range strings.Lines(written) {
		if m := upwards.FindStringSubmatch(line); m != nil {
			n := 0
			for _, c := range m[1] {
				n = n*10 + int(c-'0')
			}
			lines = lines[:len(lines)-n]
			line = line[len(m[0]):]
		}
		if line != "" {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

func TestFailure(t *testing.T) {
	dir := world(t, "RUN echo what is wrong; exit 3")
	got := run(t, nil, "-root", t.TempDir(), "-network", "none", dir)
	require.Equal(t, failed, got.code)
	require.Regexp(t, `(?m)^  \| what is wrong$`, got.stderr)
	require.Regexp(t, `(?m)^build: Dockerfile:4: RUN echo what is wrong; exit 3: exit code 3`, got.stderr)
	for _, bad := range [][]string{nil, {"-network", "all", "."}, {"-arg", "x", "."}, {"-nosuch", "."}} {
		require.Equal(t, failed, run(t, nil, bad...).code)
	}
	require.Zero(t, run(t, nil, "-h").code)
}
