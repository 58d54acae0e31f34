package container_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
)

// swapper is an image with a program that swaps names.
func swapper(t testing.TB) *image.Image {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the program can't be compiled here: apt-get install golang")
	}
	program := filepath.Join(t.TempDir(), "swap")
	cmd := exec.Command("go", "build", "-o", program, "./testdata/swap")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	img, err := busybox(t).Derive(t.Context(), "ctor.test/swap", nil, layer.FromFS(os.DirFS(filepath.Dir(program)), &layer.Options{Prefix: "bin"}))
	require.NoError(t, err)
	return img
}

// A program in the container swaps a directory, and a file, with links that
// lead to the host's, as fast as it can, while all that FS can do is done to
// them. Nothing on the host is read or changed.
func TestFSRace(t *testing.T) {
	t.Parallel()
	const secret = "a secret of the host's"
	outside := t.TempDir()
	canary := outside + "/canary"
	require.NoError(t, os.MkdirAll(outside+"/sub/dir", 0o755))
	for _, name := range []string{canary, outside + "/host", outside + "/file", outside + "/sub/dir/file"} {
		require.NoError(t, os.WriteFile(name, []byte(secret), 0o600))
	}
	snapshot(t, outside) // looking changes when directories were looked at, once
	before := snapshot(t, outside)
	c := containertest.Run(t, swapper(t), container.Config{
		Args:        []string{"sh", "-c", `mkdir /work; cd /work; mkdir dir; ln -s ` + outside + ` out; ln -s ../../../../../../..` + outside + ` up; echo x >file; ln -s ` + canary + ` to; exec swap 1h dir out file to dir up`},
		StopTimeout: -1,
	})
	says(t, c, "ready")
	f := c.FS()
	read := func(b []byte) {
		require.False(t, bytes.Contains(b, []byte(secret)))
	}
	rounds := 100
	if testing.Short() {
		rounds = 5
	}
	var worked, failed int
	tally := func(err error) {
		if err == nil {
			worked++
		} else {
			failed++
			_, ok := errors.AsType[*fs.PathError](err)
			require.True(t, ok, err)
		}
	}
	for i := range rounds {
		for _, name := range []string{"work/dir", "work/out", "work/up"} {
			for _, file := range []string{name + "/canary", name + "/file", "work/file", "work/to"} {
				b, err := f.ReadFile(file)
				tally(err)
				read(b)
				tally(f.WriteFile(file, []byte("written"), 0o666))
				tally(f.Chmod(file, 0o777))
				tally(f.Chown(file, 1000, 1000))
				tally(f.Chtimes(file, time.Unix(1, 1), time.Unix(1, 1)))
			}
			list, err := f.ReadDir(name)
			tally(err)
			for _, d := range list {
				require.NotEqual(t, "host", d.Name())
			}
			tally(f.MkdirAll(name+"/a/b/c", 0o777))
			tally(f.Symlink("/etc", name+"/link"))
			tally(f.Link("work/file", name+"/linked"))
			tally(f.Rename(name+"/linked", name+"/canary"))
			tally(f.CopyIn(t.Context(), name+"/sub", fstest.MapFS{"dir/file": {Data: []byte("copied")}}))
			if r, err := f.CopyOut(t.Context(), name); err == nil {
				b, err := io.ReadAll(r)
				tally(err)
				read(b)
				require.NoError(t, r.Close())
			}
			tally(f.RemoveAll(name + "/a"))
			tally(f.RemoveAll(name + "/sub"))
			tally(f.Remove(name + "/canary"))
			tally(f.Remove(name + "/file"))
			if i%3 == 0 {
				tally(f.RemoveAll(name))
				tally(f.Mkdir("work/dir", 0o755))
				tally(f.Symlink(outside, "work/out"))
				tally(f.Symlink("../../../../../../.."+outside, "work/up"))
			}
		}
	}
	require.Equal(t, container.Running, info(t, c).State, "it has swapped to the end")
	require.Equal(t, before, snapshot(t, outside))
	t.Log(worked, "calls worked,", failed, "failed")
	require.NotZero(t, worked)
}

// snapshot describes a tree of the host's, with all that an access changes.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", `%p %y %m %U:%G %n %s %A@ %T@ %C@ %l\n`).Output()
	require.NoError(t, err)
	return string(out)
}
