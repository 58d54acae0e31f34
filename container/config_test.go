package container_test

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// derive makes an image of busybox and a configuration.
func derive(t testing.TB, ref string, edit func(*ocispec.ImageConfig)) *image.Image {
	i, err := busybox(t).Derive(t.Context(), "ctor.test/"+ref, edit)
	require.NoError(t, err)
	return i
}

// What Docker does with ENTRYPOINT, CMD, --entrypoint and arguments.
func TestArgs(t *testing.T) {
	t.Parallel()
	img := derive(t, "args", func(c *ocispec.ImageConfig) {
		c.Entrypoint = []string{"echo", "entrypoint"}
		c.Cmd = []string{"cmd"}
	})
	for name, test := range map[string]struct {
		cfg  container.Config
		want string
	}{
		"image":          {container.Config{}, "entrypoint cmd\n"},
		"args":           {container.Config{Args: []string{"a", "b c"}}, "entrypoint a b c\n"},
		"entrypoint":     {container.Config{Entrypoint: []string{"echo", "mine"}}, "mine\n"},
		"both":           {container.Config{Entrypoint: []string{"echo", "mine"}, Args: []string{"a"}}, "mine a\n"},
		"cleared":        {container.Config{Entrypoint: []string{}, Args: []string{"echo", "plain"}}, "plain\n"},
		"empty argument": {container.Config{Args: []string{"", "x", ""}}, "entrypoint  x \n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, stdout(t, img, test.cfg))
		})
	}
}

func TestEnv(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	img := derive(t, "env", func(c *ocispec.ImageConfig) {
		c.Env = append(c.Env, "A=image", "B=image", "not a variable", "A=image again")
	})
	out := stdout(t, img, container.Config{
		Args: []string{"env"}, Hostname: "box",
		Env: []string{"B=first", "B=mine", "C=a=b c", "EMPTY="},
	})
	require.Equal(t, "HOSTNAME=box\nHOME=/root\nPATH=/bin\nFROM_IMAGE=yes\nA=image again\nB=mine\nC=a=b c\nEMPTY=\n", out)
	require.Contains(t, stdout(t, img, container.Config{Args: []string{"env"}, User: "app"}), "\nHOME=/home/app\n")
	require.Contains(t, stdout(t, img, container.Config{Args: []string{"env"}, Env: []string{"HOME=/mine"}}), "\nHOME=/mine\n")
}

func TestDir(t *testing.T) {
	t.Parallel()
	img := derive(t, "dir", func(c *ocispec.ImageConfig) { c.WorkingDir = "/tmp" })
	for dir, want := range map[string]string{
		"": "/tmp\n", "/bin": "/bin\n", "/not/yet": "/not/yet\n", "bin": "/bin\n", "/tmp/../../bin": "/bin\n",
	} {
		require.Equal(t, want, stdout(t, img, container.Config{Args: []string{"pwd"}, Dir: dir}), dir)
	}
}

func TestHostname(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	script := sh("hostname; cat /etc/hostname /etc/hosts")
	script.Name = "hostname-test"
	require.Equal(t, "hostname-test\nhostname-test\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\thostname-test\n",
		stdout(t, img, script))
	script.Name, script.Hostname = "", "db.example"
	require.Contains(t, stdout(t, img, script), "db.example\ndb.example\n")
}

func TestLabels(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	given := map[string]string{"owner": "me", "a.b/c": "d e", "empty": ""}
	c, err := busybox(t).New(t.Context(), container.Config{Labels: given})
	require.NoError(t, err)
	defer c.Close()
	got := info(t, c).Labels
	require.Equal(t, given, got)
	got["owner"] = "changed"
	require.Equal(t, given, info(t, c).Labels)
	found, err := container.Get(t.Context(), e, c.ID())
	require.NoError(t, err)
	require.Equal(t, given, info(t, found).Labels)
}

func TestSpecHook(t *testing.T) {
	t.Parallel()
	cfg := container.Config{Args: []string{"env"}, Spec: func(s *specs.Spec) error {
		s.Process.Args = append(s.Process.Args, "echo", "hooked")
		s.Process.Cwd = "/tmp"
		return nil
	}}
	require.Equal(t, "hooked\n", stdout(t, busybox(t), cfg))
}

// The image's own /run must be there: databases keep their socket's directory
// in it.
func TestRunDirectory(t *testing.T) {
	t.Parallel()
	img, err := busybox(t).Derive(t.Context(), "ctor.test/run", nil, fixture.Files(map[string]string{"run/db/keep": "kept"}))
	require.NoError(t, err)
	require.Equal(t, "kept", stdout(t, img, container.Config{Args: []string{"cat", "/run/db/keep"}}))
}
