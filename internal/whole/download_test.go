package whole

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// downloads are real programs that load what they need from $ORIGIN, and use it.
const downloads = `
exec 2>&1
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
echo "deb [trusted=yes] $ORIGIN ./" >/etc/apt/sources.list
apt-get -q update
apt-get -q install --yes ctor-greeting
ctor-greeting

mkdir -p /src
cd /src
cat >go.mod <<end
module example.test/here
go 1.21
require ctor.test/greeting v1.0.0
end
go mod download -x
grep Text $(go env GOMODCACHE)/ctor.test/greeting@v1.0.0/greeting.go

# Another name is refused, at once and for both.
! /usr/lib/apt/apt-helper -o Acquire::Retries=0 download-file "${ORIGIN%mirror.test}elsewhere.test/Packages" packages
! GOPROXY=${ORIGIN%mirror.test}elsewhere.test go list -m -versions ctor.test/greeting
echo done
`

// load runs the downloads in a Debian with Go, and gives what they said.
func load(ctx context.Context, debian *image.Image, d egress.Dialer, origin, goroot string) (string, error) {
	var said lockedBuffer
	c, err := debian.Run(ctx, container.Config{
		Args:    []string{"sh", "-ec", downloads},
		Env:     []string{"ORIGIN=" + origin, "GOPROXY=" + origin, "GOSUMDB=off", "GOTOOLCHAIN=local", "PATH=" + goroot + "/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Mounts:  []container.Mount{{Source: goroot, Target: goroot, ReadOnly: true}},
		Network: container.Out(d),
		Stdout:  &said,
	})
	if err != nil {
		return "", err
	}
	err = errors.Join(c.Wait(ctx), c.Close())
	return said.String(), err
}

// needsDownloads gives the Debian in e, and Go's own directory.
func needsDownloads(t *testing.T, e *ctor.Engine) (debian *image.Image, goroot string) {
	t.Helper()
	debian = fixture.Debian(t, e)
	c, err := debian.New(t.Context(), container.Config{Network: container.Out(egress.Public)})
	if errors.Is(err, ctor.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.NoError(t, c.Close())
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skipf("go env GOROOT: %v", err)
	}
	return debian, strings.TrimSpace(string(out))
}

func checkDownloads(t *testing.T, said string) {
	t.Helper()
	require.Contains(t, said, "\nhello from a package\n", said)
	require.Contains(t, said, "hello from a module", said)
	require.Contains(t, said, "Could not connect to elsewhere.test", said)
	require.Regexp(t, `dial tcp .*: connection refused`, said)
	require.True(t, strings.HasSuffix(said, "\ndone\n"), said)
}

// apt-get and go mod download reach a server on loopback by another name, over
// HTTPS that a function of the program answers and that they trust.
func TestDownloadHandler(t *testing.T) {
	e := fixture.Open(t)
	debian, goroot := needsDownloads(t, e)
	there := httptest.NewServer(http.FileServer(http.Dir(mirror(t, debian))))
	defer there.Close()
	at, err := url.Parse(there.URL)
	require.NoError(t, err)
	d := egress.Mux{mirrorName + ":443": egress.Handler(httputil.NewSingleHostReverseProxy(at))}.Dial
	said, err := load(t.Context(), debian, d, "https://"+mirrorName, goroot)
	require.NoError(t, err, said)
	checkDownloads(t, said)
}

// They do so by a policy that allows the name. It leads to another network
// namespace here, since no policy leads to the program's own loopback.
func TestDownloadAllow(t *testing.T) {
	for _, command := range []string{"nsenter", "ip"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skip(err)
		}
	}
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	debian, goroot := needsDownloads(t, e)
	dir := mirror(t, debian)
	require.NoError(t, e.Close())

	said := filepath.Join(t.TempDir(), "said")
	server := networked(t, "mirror", dir)
	client := networked(t, "download", root, goroot, said)
	within(t, client, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", pid(server))
	for s, link := range map[*fixture.Started][2]string{client: {"v0", "203.0.113.1/24"}, server: {"v1", mirrorAddr + "/24"}} {
		within(t, s, "ip", "address", "add", link[1], "dev", link[0])
		within(t, s, "ip", "link", "set", link[0], "up")
	}
	client.End(t)
	b, err := os.ReadFile(said)
	require.NoError(t, err)
	checkDownloads(t, string(b))
	require.Empty(t, fixture.Host(t, root))
}

// helpDownload waits until it has a network, and runs the downloads.
func helpDownload(args []string) error {
	ready()
	knowMirror()
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	debian, err := image.Get(ctx, e, "ctor.test/debian:real")
	if err != nil {
		return err
	}
	said, err := load(ctx, debian, egress.Allow(mirrorName+":80"), "http://"+mirrorName, args[1])
	if err != nil {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return errors.Join(err, os.WriteFile(args[2], []byte(said), 0o600), e.Close())
}

// networked starts a program in a network namespace of its own.
func networked(t *testing.T, name string, args ...string) *fixture.Started {
	t.Helper()
	cmd := fixture.Program(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	return fixture.Start(t, cmd)
}

func pid(s *fixture.Started) string { return strconv.Itoa(s.Process.Pid) }

// within runs a command in the network of a program.
func within(t *testing.T, s *fixture.Started, args ...string) {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"-t", pid(s), "-n"}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
