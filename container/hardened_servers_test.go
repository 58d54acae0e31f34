package container_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// Common programs run hardened, with what docs/security.md says they need.

func TestRedisHardened(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, fixture.Redis(t, containertest.Engine(t)), container.Config{
		Security: container.Hardened(),
		Mounts:   []container.Mount{{Type: container.Volume, Target: "/var/lib/redis"}},
		Ready:    container.Exec("redis-cli", "ping"),
	})
	out, err := c.Command(t.Context(), "sh", "-c", "redis-cli set a b && redis-cli save && ls -l /var/lib/redis/dump.rdb").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
}

func TestPostgresHardened(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, fixture.Postgres(t, containertest.Engine(t)), container.Config{
		Security: container.Hardened(),
		Mounts: []container.Mount{
			{Type: container.Volume, Target: "/var/lib/postgresql"},
			{Type: container.Tmpfs, Target: "/run/postgresql", Size: 1 << 20},
			{Type: container.Tmpfs, Target: "/var/log/postgresql", Size: 1 << 20},
		},
		Ready: container.All(container.Log("ready to accept connections", 1), container.Exec("pg_isready")),
	})
	out, err := c.Command(t.Context(), "psql", "--host", "localhost", "--tuples-only", "--no-align", "--command", "SELECT 6*7").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "42\n", string(out))
	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
}

// nginx begins as root, and becomes another user: it needs three capabilities for
// that, in its own user namespace.
func TestNginxHardened(t *testing.T) {
	t.Parallel()
	security := container.Hardened()
	security.CapAdd = []string{"SETUID", "SETGID", "CHOWN"}
	c := containertest.Run(t, fixture.Nginx(t, containertest.Engine(t)), container.Config{
		Security: security,
		Mounts: []container.Mount{
			{Type: container.Tmpfs, Target: "/run", Size: 1 << 20},
			{Type: container.Tmpfs, Target: "/var/lib/nginx", Size: 16 << 20},
		},
		Ready: container.HTTP("http://localhost/"),
	})
	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
}

// bash and perl stand for interpreters.
func TestInterpretersHardened(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"bash", "-c", "cat <(echo 42) >/tmp/x; cat /tmp/x"},
		{"perl", "-MFile::Temp=tempfile", "-e", `my ($f) = tempfile(); print $f 6*7; seek $f, 0, 0; print <$f>, "\n"`},
	} {
		cfg := container.Config{Args: args, Security: container.Hardened()}
		require.Equal(t, "42\n", stdout(t, fixture.Debian(t, containertest.Engine(t)), cfg))
	}
}

// The host's own Python, by mounts of what it consists of.
func TestPythonHardened(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	cfg := container.Config{Security: container.Hardened(), Args: []string{"/usr/bin/python3", "-c", `
import json, os, sqlite3, subprocess, tempfile, threading
with tempfile.TemporaryDirectory() as d:
    db = sqlite3.connect(d + "/x"); db.execute("create table t(a)"); db.execute("insert into t values (6)"); db.commit()
    six = db.execute("select a from t").fetchone()[0]
t = threading.Thread(target=lambda: None); t.start(); t.join()
print(json.dumps(six * int(subprocess.check_output(["/bin/echo", "7"]))))`}}
	for _, dir := range []string{"/usr", "/lib", "/lib64"} {
		real, err := filepath.EvalSymlinks(dir)
		if _, perr := os.Stat("/usr/bin/python3"); err != nil || perr != nil {
			t.Skip("this host has no Python in /usr")
		}
		cfg.Mounts = append(cfg.Mounts, container.Mount{Source: real, Target: dir, ReadOnly: true})
	}
	require.Equal(t, "42\n", stdout(t, busybox(t), cfg))
}

// A test binary of Go's needs no more than itself: it makes temporary directories,
// listens on its loopback, and starts itself again.
func TestGoTestHardened(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it compiles a test")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module x\ngo 1.26\n",
		"x_test.go": `package x
import ("net"; "os"; "os/exec"; "testing")
func Test(t *testing.T) {
	if os.Getenv("AGAIN") != "" { return }
	if err := os.WriteFile(t.TempDir()+"/x", []byte("x"), 0o600); err != nil { t.Fatal(err) }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil { t.Fatal(err) }
	l.Close()
	c := exec.Command(os.Args[0]); c.Env = []string{"AGAIN=1"}
	if out, err := c.CombinedOutput(); err != nil { t.Fatal(err, string(out)) }
}
`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", "x.test")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	cfg := container.Config{
		Args: []string{"/x.test"}, Security: container.Hardened(),
		Mounts: []container.Mount{{Source: filepath.Join(dir, "x.test"), Target: "/x.test", ReadOnly: true}},
	}
	require.Equal(t, "PASS\n", stdout(t, busybox(t), cfg))
}
