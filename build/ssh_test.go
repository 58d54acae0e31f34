package build_test

import (
	"bufio"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// newKey makes a key as ssh-keygen does, and gives its fingerprint too.
func newKey(t *testing.T) (key []byte, fingerprint string) {
	file := filepath.Join(t.TempDir(), "key")
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	key, err = os.ReadFile(file)
	require.NoError(t, err)
	s, err := ssh.ParsePrivateKey(key)
	require.NoError(t, err)
	return key, ssh.FingerprintSHA256(s.PublicKey())
}

// openssh are OpenSSH's programs with the libraries that they need, in a context.
func openssh(t *testing.T, from fstest.MapFS, programs ...string) {
	for _, name := range programs {
		path, err := exec.LookPath(name)
		require.NoError(t, err, "apt-get install openssh-client")
		out, err := exec.Command("ldd", path).Output()
		require.NoError(t, err)
		put := func(file string) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			from["root"+file] = &fstest.MapFile{Data: data, Mode: 0o755}
		}
		put(path)
		for field := range strings.FieldsSeq(string(out)) {
			if strings.HasPrefix(field, "/") {
				put(field)
			}
		}
	}
	withDirs(from)
}

// A step lists an agent's keys and has it sign, and can't change it; a key that this
// program holds and one of an agent that runs are the same to it.
func TestSSH(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	key, fingerprint := newKey(t)
	other, otherFingerprint := newKey(t)
	from := dockerfile("FROM ctor.test/busybox:1",
		"ENV PATH=/bin:/usr/bin",
		"COPY root /",
		"RUN --mount=type=ssh ssh-add -l > /listed && ssh-add -L > /key.pub && echo text | ssh-keygen -q -Y sign -f /key.pub -n file > /signed",
		"RUN --mount=type=ssh ! ssh-add -D && ! ssh-add -d /key.pub && ssh-add -l | cmp - /listed",
		"RUN --mount=type=ssh,id=other,target=/agent,uid=1000,mode=0600 ls -ln /agent > /owner && SSH_AUTH_SOCK=/agent ssh-add -l > /other",
		"RUN --mount=type=ssh,id=other --mount=type=ssh ssh-add -l > /first",
		"RUN --mount=type=ssh,id=missing test ! -e /run/buildkit",
	)
	openssh(t, from, "ssh-add", "ssh-keygen")
	o := alone()
	o.SSH = map[string]build.SSH{"default": {Keys: [][]byte{key}}, "other": {Agent: startAgent(t, other)}}
	img, err := build.Build(t.Context(), e, from, o)
	require.NoError(t, err)
	require.Contains(t, content(t, img, "listed"), fingerprint)
	require.Contains(t, content(t, img, "signed"), "BEGIN SSH SIGNATURE")
	require.Contains(t, content(t, img, "other"), otherFingerprint)
	require.Contains(t, content(t, img, "first"), otherFingerprint)
	require.Regexp(t, "^srw------- .* 1000 ", content(t, img, "owner"))
	root, err := img.FS(t.Context())
	require.NoError(t, err)
	defer root.Close()
	for _, name := range []string{"run/buildkit", "agent"} {
		_, err = root.Lstat(name)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
	}

	from = dockerfile("FROM ctor.test/busybox:1", "RUN --mount=type=ssh,id=missing,required=true true")
	_, err = build.Build(t.Context(), e, from, o)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	require.ErrorContains(t, err, `ssh agent "missing" is not among Options.SSH`)
	require.ErrorContains(t, err, "Dockerfile:2: RUN")

	for name, bad := range map[string]build.SSH{"nothing": {}, "no key": {Keys: [][]byte{[]byte("x")}}, "both": {Agent: "/x", Keys: [][]byte{key}}} {
		_, err = build.Build(t.Context(), e, from, &build.Options{SSH: map[string]build.SSH{"default": bad}})
		require.ErrorIs(t, err, ctor.ErrInvalid, name)
	}
}

// startAgent runs ssh-agent with a key, and gives its socket.
func startAgent(t *testing.T, key []byte) (socket string) {
	dir := t.TempDir()
	socket = filepath.Join(dir, "s")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err = bufio.NewReader(out).ReadString('\n') // it tells its socket when it listens
	require.NoError(t, err)
	file := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(file, key, 0o600))
	add := exec.Command("ssh-add", "-q", file)
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	said, err := add.CombinedOutput()
	require.NoError(t, err, "%s", said)
	return socket
}
