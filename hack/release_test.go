// Package hack is the scripts in this directory; only their test is Go.
package hack

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// go install, as Engine.Info advises it, works with what hack/release makes of
// this working tree: nothing is published here, so git is told that the
// repository on the net is a directory.
func TestInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the shim")
	}
	if err := exec.Command("pkg-config", "--exists", "libseccomp").Run(); err != nil {
		t.Skip("it can't be compiled here: hack/setup shim")
	}
	const version = "v0.0.99"
	repo, dir := filepath.Join(t.TempDir(), "ctor"), t.TempDir()
	env := append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=4",
		"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", // sudo make test
		"GIT_CONFIG_KEY_1=user.name", "GIT_CONFIG_VALUE_1=test",
		"GIT_CONFIG_KEY_2=user.email", "GIT_CONFIG_VALUE_2=test@localhost",
		"GIT_CONFIG_KEY_3=url.file://"+repo+".insteadOf", "GIT_CONFIG_VALUE_3=https://github.com/ctorhq/ctor",
		"GIT_ALLOW_PROTOCOL=file",
	)
	run := func(dir, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %s: %s", name, args, out)
		return strings.TrimSpace(string(out))
	}
	clone(t, strings.Split(run("..", "git", "ls-files", "-co", "--exclude-standard"), "\n"), repo)
	run(repo, "git", "init", "--quiet")
	run(repo, "git", "add", "--all")
	run(repo, "git", "commit", "--quiet", "--message", "all")
	before := run(repo, "git", "rev-parse", "HEAD")
	run(repo, "hack/release", version)
	require.Equal(t, before, run(repo, "git", "rev-parse", "HEAD"), "the branch stays")
	require.Empty(t, run(repo, "git", "status", "--porcelain"))

	// All else comes from the module cache, which has the layout of a proxy, or
	// if it is not there from where it always comes.
	env = append(env,
		"GOPROXY=file://"+run(".", "go", "env", "GOMODCACHE")+"/cache/download,"+run(".", "go", "env", "GOPROXY"),
		"GOPRIVATE=github.com/ctorhq/*", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOWORK=off",
		"GOMODCACHE="+filepath.Join(dir, "mod"), "GOBIN="+dir, "GOFLAGS=-modcacherw",
	)
	run(dir, "go", "install", "-trimpath", "-tags", "seccomp", "github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2@latest")
	program := filepath.Join(dir, "containerd-shim-ctor-v2")
	built, err := buildinfo.ReadFile(program)
	require.NoError(t, err)
	require.Equal(t, version, built.Main.Version)
	require.Contains(t, fmt.Sprint(built), "github.com/ctorhq/ctor\t"+version)
	require.Contains(t, run(dir, program, "-info"), "io.containerd.ctor.v2")

	// What a program that imports package build resolves.
	build := run(dir, "go", "list", "-m", "-f", "{{.Version}} {{.GoMod}}", "github.com/ctorhq/ctor/build@latest")
	got, file, _ := strings.Cut(build, " ")
	require.Equal(t, version, got)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), "github.com/ctorhq/ctor "+version)
	require.NotContains(t, string(text), "replace")
}

// clone copies the repository's files, as they are, to another directory.
func clone(t *testing.T, files []string, to string) {
	t.Helper()
	for _, name := range files {
		from, err := os.Open(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // removed, and not yet committed
		}
		require.NoError(t, err)
		defer from.Close()
		st, err := from.Stat()
		require.NoError(t, err)
		path := filepath.Join(to, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, st.Mode())
		require.NoError(t, err)
		_, err = io.Copy(f, from)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
}
