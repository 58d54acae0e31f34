package volume_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/volume"
)

func TestVolume(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	img := fixture.Busybox(t, e)
	labels := map[string]string{"who": "me"}
	v, err := volume.New(t.Context(), e, "", &volume.Options{Labels: labels})
	require.NoError(t, err)
	require.Len(t, v.Name(), 16)
	require.WithinDuration(t, time.Now(), v.Created(), time.Minute)
	_, err = volume.New(t.Context(), e, v.Name(), nil)
	require.ErrorIs(t, err, ctor.ErrAlreadyExists)

	run(t, img, sh("echo one > /data/file; chown app /data/file", v.Mount("/data")))
	ro := v.Mount("/else/where")
	ro.ReadOnly = true
	require.Equal(t, "one\nro\n", run(t, img, sh("cat /else/where/file; touch /else/where/x 2> /dev/null || echo ro", ro)))

	again, err := volume.Get(t.Context(), e, v.Name())
	require.NoError(t, err)
	require.Equal(t, labels, again.Labels())
	require.True(t, v.Created().Equal(again.Created()))
	b, err := again.FS().ReadFile("file")
	require.NoError(t, err)
	require.Equal(t, "one\n", string(b))
	require.NoError(t, again.FS().WriteFile("host", []byte("two\n"), 0o644))
	require.Equal(t, "two\n", run(t, img, sh("cat /data/host", v.Mount("/data"))))
	n, err := v.Usage(t.Context())
	require.NoError(t, err)
	require.Positive(t, n)

	list, err := volume.List(t.Context(), e)
	require.NoError(t, err)
	found := false
	for _, l := range list {
		found = found || l.Name() == v.Name()
	}
	require.True(t, found)
	require.NoError(t, v.Remove(t.Context()))
	require.ErrorIs(t, v.Remove(t.Context()), ctor.ErrNotFound)
	_, err = v.Usage(t.Context())
	require.ErrorIs(t, err, ctor.ErrNotFound)
	_, err = v.FS().ReadFile("file")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "no such volume")
	_, err = volume.Get(t.Context(), e, v.Name())
	require.ErrorIs(t, err, ctor.ErrNotFound)
}

// A container has its volume from New until it is deleted, running or not, and a
// volume that it has can't be removed.
func TestInUse(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	v := create(t, e, "used")
	other := create(t, e, "other")
	cfg := sh("sleep 1000", v.Mount("/data"))
	cfg.Name, cfg.Keep = "user", true
	c, err := img.New(t.Context(), cfg)
	require.NoError(t, err)
	inUse := func() {
		t.Helper()
		err := v.Remove(t.Context())
		require.ErrorIs(t, err, volume.ErrInUse)
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.EqualError(t, err, `remove volume "used": container user has it: it is in use: invalid argument`)
		names, err := v.Containers(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"user"}, names)
	}
	inUse()
	require.NoError(t, c.Start(t.Context()))
	inUse()
	require.NoError(t, c.Signal(t.Context(), os.Kill))
	_ = c.Wait(t.Context())
	inUse()
	require.NoError(t, c.Close())
	inUse() // it is kept
	require.NoError(t, other.Remove(t.Context()))
	c, err = container.Get(t.Context(), e, "user")
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()), "its next life")
	require.NoError(t, c.Remove(t.Context()))
	require.NoError(t, v.Remove(t.Context()))
}

// However many begin at once, the image's files are copied once, and each container
// sees all of them.
func TestCopiedOnce(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	img := stocked(t, e)
	v := create(t, e, "")
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			// Each removes what it finds, and nothing brings it back.
			out := run(t, img, sh("ls /data/many | wc -l; ls -ld /data | head -c 10; rm -f /data/owned", v.Mount("/data")))
			if out != "300\ndrwx------" {
				t.Error(out)
			}
		})
	}
	wg.Wait()
	_, err := v.FS().Stat("owned")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, v.FS().RemoveAll("many"))
	require.Equal(t, "", run(t, img, sh("ls /data", v.Mount("/data"))), "not a second time, also when it is empty")
}

func TestCopiedFrom(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	img := stocked(t, e)
	for target, want := range map[string]string{
		"/data": "many\nowned\n", "/short": "many\nowned\n", "/new": "", "/outside/../etc": "group\nhostname\nhosts\none-file\npasswd\n",
	} {
		v := create(t, e, "")
		out := run(t, img, sh("true", v.Mount(target)))
		require.Empty(t, out)
		names := ""
		list, err := v.FS().ReadDir(".")
		require.NoError(t, err)
		for _, d := range list {
			names += d.Name() + "\n"
		}
		if target == "/outside/../etc" {
			want = strings.ReplaceAll(want, "hostname\nhosts\n", "")
			names = strings.ReplaceAll(names, "hostname\nhosts\n", "") // of the runtime's
		}
		require.Equal(t, want, names, target)
	}
	// What the program has put there is left alone.
	v := create(t, e, "")
	require.NoError(t, v.FS().WriteFile("mine", nil, 0o644))
	require.Equal(t, "mine\n", run(t, img, sh("ls /data", v.Mount("/data"))))
	// To look is not to use.
	v = create(t, e, "")
	list, err := v.FS().ReadDir(".")
	require.NoError(t, err)
	require.Empty(t, list)
	require.Equal(t, "many\nowned\n", run(t, img, sh("ls /data", v.Mount("/data"))))
}

// A name that is no volume is made one, unless there is no container then.
func TestMadeByMount(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := stocked(t, e)
	m := container.Mount{Type: container.Volume, Source: "made", Target: "/data"}
	cfg := sh("true", m)
	cfg.Args = []string{"/not/there"}
	cfg.User = "nobody-there"
	_, err := img.New(t.Context(), cfg)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	list, err := volume.List(t.Context(), e)
	require.NoError(t, err)
	require.Empty(t, list)
	run(t, img, sh("true", m))
	v, err := volume.Get(t.Context(), e, "made")
	require.NoError(t, err)
	_, err = v.FS().Stat("owned")
	require.NoError(t, err)
}

// A directory that the image declares, and a mount without a name, are the
// container's own: in all its lives, and not after it.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := declaring(t, e, "/data", "/data/many", "/empty/", "relative")
	run(t, stocked(t, e), sh("true")) // its layers are there
	before := fixture.Count(t, e)
	cfg := sh("ls /data /extra; cat /proc/mounts | grep -c -e ' /data' -e ' /empty ' -e ' /relative ' -e ' /extra '; echo x > /data/new; ls /empty; echo x > /empty/y", container.Mount{Type: container.Volume, Target: "/extra"})
	cfg.Keep = true
	var out strings.Builder
	cfg.Stdout = &out
	c, err := img.Run(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "/data:\nmany\nowned\n\n/extra:\n5\n/data:\nmany\nnew\nowned\n\n/extra:\n5\ny\n", out.String())
	var changed []string
	for ch, err := range c.Changes(t.Context()) {
		require.NoError(t, err)
		changed = append(changed, ch.Path)
	}
	require.NotContains(t, changed, "data/new", "it is not in the writable layer")
	list, err := volume.List(t.Context(), e)
	require.NoError(t, err)
	require.Empty(t, list)
	require.NoError(t, c.Remove(t.Context()))
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })

	// The caller's mount of the same place is there instead.
	require.Equal(t, "", run(t, img, sh("ls /data", container.Mount{Type: container.Tmpfs, Target: "/data/"})))
}

func TestBad(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := stocked(t, e)
	run(t, img, sh("true")) // its layers are there
	many := []string{}
	for n := range 101 {
		many = append(many, "/v"+string(rune('a'+n%26))+strings.Repeat("x", n))
	}
	type bad struct {
		img  func(t *testing.T) (volumes []string)
		m    container.Mount
		says string
	}
	for name, b := range map[string]bad{
		"a name":       {m: container.Mount{Type: container.Volume, Source: "../x", Target: "/x"}, says: `mount on "/x": volume: identifier "../x"`},
		"a path":       {m: container.Mount{Type: container.Volume, Source: "/tmp", Target: "/x"}, says: `identifier "/tmp"`},
		"a size":       {m: container.Mount{Type: container.Volume, Source: "a", Target: "/x", Size: 1}, says: `only Tmpfs has a size`},
		"a target":     {m: container.Mount{Type: container.Volume, Source: "a", Target: "x"}, says: `the target must be an absolute path`},
		"proc":         {m: container.Mount{Type: container.Volume, Source: "a", Target: "/proc/x"}, says: `must not be in /proc`},
		"on a file":    {m: container.Mount{Type: container.Volume, Source: "a", Target: "/etc/one-file"}, says: `it is no directory`},
		"nameless":     {m: container.Mount{Type: container.Volume, Target: "/etc/one-file"}, says: `it is no directory`},
		"image's root": {img: func(*testing.T) []string { return []string{"/"} }, says: `volume "/" that the image declares: mount on "/"`},
		"image's proc": {img: func(*testing.T) []string { return []string{"/data/../proc/1"} }, says: `must not be in /proc`},
		"image's zero": {img: func(*testing.T) []string { return []string{"/x\x00"} }, says: `zero byte`},
		"image's many": {img: func(*testing.T) []string { return many }, says: `the image declares 101 volumes, more than 100`},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			img := img
			cfg := sh("true")
			if b.img != nil {
				img = declaring(t, e, b.img(t)...)
			} else {
				cfg.Mounts = []container.Mount{b.m}
			}
			before := fixture.Count(t, e)
			_, err := img.New(t.Context(), cfg)
			require.ErrorIs(t, err, ctor.ErrInvalid)
			require.ErrorContains(t, err, b.says)
			before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
			list, err := volume.List(t.Context(), e)
			require.NoError(t, err)
			require.Empty(t, list)
		})
	}
	_, err := volume.New(t.Context(), e, "a b", nil)
	require.ErrorIs(t, err, ctor.ErrInvalid)
	_, err = volume.New(t.Context(), e, "a", &volume.Options{Labels: map[string]string{"io.ctor.x": "y"}})
	require.ErrorIs(t, err, ctor.ErrInvalid)
	_, err = volume.Get(t.Context(), e, "a")
	require.ErrorIs(t, err, ctor.ErrNotFound)
}

// What a container puts into a volume leads nowhere, and goes with it.
func TestHostile(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t) // of its own: other tests make volumes at the same time
	img := fixture.Busybox(t, e)
	v := create(t, e, "")
	run(t, img, sh(`cd /data; ln -s /etc/passwd link; ln -s ../../../../../../etc up; busybox mkfifo pipe; busybox mknod null c 1 3
		i=0; while [ $i -lt 400 ]; do mkdir $i; cd $i; i=$((i+1)); done; echo x > deep`, v.Mount("/data")))
	f := v.FS()
	_, err := f.ReadFile("link")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = f.ReadFile("up/passwd")
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, name := range []string{"pipe", "null"} {
		_, err = f.Open(name)
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
	_, err = f.Open("../" + v.Name())
	require.ErrorIs(t, err, fs.ErrInvalid)
	n, err := v.Usage(t.Context())
	require.NoError(t, err)
	require.Greater(t, n, int64(400*4096))
	require.NoError(t, v.Remove(t.Context()))
	left, err := filepath.Glob(filepath.Join(e.Root(), "volumes/ctor/.*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestClosed(t *testing.T) {
	t.Parallel()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir()})
	require.NoError(t, err)
	v, err := volume.New(t.Context(), e, "a", nil)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	_, err = v.FS().ReadDir(".")
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorIs(t, err, ctor.ErrClosed)
	require.ErrorIs(t, v.Remove(t.Context()), ctor.ErrClosed)
	_, err = volume.List(t.Context(), e)
	require.ErrorIs(t, err, ctor.ErrClosed)

	again := fixture.Engine(t, ctor.Config{Root: e.Root()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = volume.Get(ctx, again, "a")
	require.ErrorIs(t, err, context.Canceled)
	_, err = volume.Get(t.Context(), again, "a")
	require.NoError(t, err, "it outlives its engine")
	require.False(t, errors.Is(err, ctor.ErrNotFound))
}
