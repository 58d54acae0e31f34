package whole

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"
	"unsafe"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// go test ./internal/whole -run 'TestPull(Killed|PowerCut)' -pulls 50
var pulls = flag.Int("pulls", 5, "pulls that are killed, and in which the power is cut")

// published is an image of some layers in a registry that counts.
type published struct {
	ref    string
	files  []fstest.MapFS
	layers []layer.Layer
	server *registrytest.Server

	mu    sync.Mutex
	asked map[digest.Digest]int // blobs, from their beginning
}

func publish(t *testing.T) *published {
	p := &published{asked: map[digest.Digest]int{}}
	p.server = registrytest.NewServer(t, &registrytest.Options{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.Header.Get("Range") == "" {
				p.mu.Lock()
				p.asked[digest.Digest(path.Base(r.URL.Path))]++
				p.mu.Unlock()
			}
			next.ServeHTTP(w, r)
		})
	}})
	random := rand.New(rand.NewPCG(1, 2))
	var layers []layer.Layer
	for n := range 6 {
		files := fstest.MapFS{}
		for i := range 40 {
			data := make([]byte, random.IntN(60_000))
			for at := range data {
				data[at] = byte(random.IntN(30)) // packs, but not to nothing
			}
			files[fmt.Sprintf("dir-%d/layer-%d/file-%d", i%4, n, i)] = &fstest.MapFile{Data: data, Mode: 0o640}
		}
		p.files = append(p.files, files)
		layers = append(layers, layer.FromFS(files, nil))
	}
	e := fixture.Engine(t, ctor.Config{})
	img, err := image.New(t.Context(), e, p.server.Host+"/app:1", ocispec.ImageConfig{}, layers...)
	require.NoError(t, err)
	require.NoError(t, img.Push(t.Context(), "", nil))
	p.layers, err = img.Layers(t.Context())
	require.NoError(t, err)
	p.ref = img.Ref()
	p.forget()
	return p
}

func (p *published) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.asked)
}

// helpPull pulls an image. Its end is an error only where the test has caused none.
func helpPull(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = image.Pull(ctx, e, args[1], nil)
	return errors.Join(err, e.Close())
}

// sound tells that all blobs and layers that look whole are.
func (p *published) sound(t *testing.T, e *ctor.Engine) (blobs []digest.Digest) {
	t.Helper()
	ctx, cs := e.Context(t.Context()), e.Containerd().ContentStore()
	require.NoError(t, cs.Walk(ctx, func(i content.Info) error {
		b, err := content.ReadBlob(ctx, cs, ocispec.Descriptor{Digest: i.Digest, Size: i.Size})
		require.NoError(t, err)
		require.Equal(t, i.Digest, digest.FromBytes(b))
		blobs = append(blobs, i.Digest)
		return nil
	}))
	sn := e.Containerd().SnapshotService(e.Snapshotter())
	var ids []digest.Digest
	for n, l := range p.layers {
		ids = append(ids, l.DiffID)
		chain := identity.ChainID(ids).String()
		i, err := sn.Stat(ctx, chain)
		if err != nil {
			continue
		}
		require.Equal(t, snapshots.KindCommitted, i.Kind)
		mounts, err := sn.View(ctx, "look", chain, snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "test"}))
		require.NoError(t, err)
		top := rootfs.Directories(mounts)[0]
		same(t, p.files[n], os.DirFS(top))
		require.NoError(t, sn.Remove(ctx, "look"))
	}
	return blobs
}

// same compares file by file.
func same(t *testing.T, want fstest.MapFS, got fs.FS) {
	t.Helper()
	left := len(want)
	require.NoError(t, fs.WalkDir(got, ".", func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		if d.IsDir() {
			return nil
		}
		left--
		i, err := d.Info()
		require.NoError(t, err)
		b, err := fs.ReadFile(got, name)
		require.NoError(t, err)
		require.NotNil(t, want[name], name)
		require.Equal(t, want[name].Mode, i.Mode(), name)
		require.True(t, bytes.Equal(want[name].Data, b), name)
		return nil
	}))
	require.Zero(t, left)
}

// pull pulls the image to its end, and looks at all of it.
func (p *published) pull(t *testing.T, e *ctor.Engine) {
	t.Helper()
	img, err := image.Pull(t.Context(), e, p.ref, nil)
	require.NoError(t, err)
	f, err := img.FS(t.Context())
	require.NoError(t, err)
	defer f.Close()
	all := fstest.MapFS{}
	for _, files := range p.files {
		for name, file := range files {
			all[name] = file
		}
	}
	same(t, all, f)
	p.sound(t, e)
	require.Empty(t, fixture.Count(t, e)["leases"])
}

// moment is a random one in a pull, or a little after it.
func (p *published) moment(t *testing.T) func() time.Duration {
	e := fixture.Engine(t, ctor.Config{})
	began := time.Now()
	p.pull(t, e)
	took := time.Since(began)
	return func() time.Duration { return rand.N(took * 5 / 4) }
}

// A pull that is killed at any moment, and once more, leaves nothing that looks
// whole and is not; and the next asks for nothing that was complete.
func TestPullKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	p := publish(t)
	moment := p.moment(t)
	for range *pulls {
		root := t.TempDir()
		for range 2 {
			h := fixture.Start(t, fixture.Program("pull", root, p.ref))
			at := moment()
			t.Logf("killed after %v", at)
			<-time.After(at)
			h.Kill(t)
		}
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		complete := p.sound(t, e)
		p.forget()
		p.pull(t, e)
		for _, d := range complete {
			require.Zero(t, p.asked[d], "%s was complete", d)
		}
		t.Logf("%d blobs were complete", len(complete))
		require.NoError(t, e.Close())
	}
}

// disk is a file system with a journal of its own, whose power can be cut.
type disk struct{ image, at string }

func newDisk(t *testing.T) *disk {
	t.Helper()
	for _, name := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is missing: apt-get install e2fsprogs mount", name)
		}
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("this kernel has no loop devices")
	}
	dir := t.TempDir()
	d := &disk{image: filepath.Join(dir, "image"), at: filepath.Join(dir, "at")}
	require.NoError(t, os.WriteFile(d.image, nil, 0o600))
	require.NoError(t, os.Truncate(d.image, 256<<20))
	run(t, "mkfs.ext4", "-q", "-F", d.image)
	d.mount(t)
	return d
}

// again is the disk as it is when the power is back. It is a copy: another
// program's mount namespace may have the first one still.
func (d *disk) again(t *testing.T) *disk {
	t.Helper()
	dir := t.TempDir()
	copied := &disk{image: filepath.Join(dir, "image"), at: filepath.Join(dir, "at")}
	run(t, "cp", "--sparse=always", d.image, copied.image)
	copied.mount(t)
	return copied
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
}

func (d *disk) mount(t *testing.T) {
	t.Helper()
	require.NoError(t, os.Mkdir(d.at, 0o700))
	run(t, "mount", "-o", "loop", d.image, d.at)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", d.at).Run() })
}

// cut has nothing more come to the disk: neither what is in memory nor the
// journal's last transaction. See EXT4_IOC_SHUTDOWN in the kernel's ext4.h.
func (d *disk) cut(t *testing.T) {
	t.Helper()
	const shutdown, noLogFlush = 0x8004587d, 2
	f, err := os.Open(d.at)
	require.NoError(t, err)
	defer f.Close()
	how := uint32(noLogFlush)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&how)))
	if errno != 0 {
		t.Skipf("the power of this file system can't be cut: %v", errno)
	}
}

// A power cut in a pull leaves nothing that looks whole and is not.
func TestPullPowerCut(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	p := publish(t)
	moment := p.moment(t)
	for range *pulls {
		d := newDisk(t)
		cmd := fixture.Program("pull", filepath.Join(d.at, "root"), p.ref)
		cmd.Stderr = nil // it meets errors
		h := fixture.Start(t, cmd)
		at := moment()
		<-time.After(at)
		d.cut(t)
		h.Kill(t)
		d = d.again(t)
		e, err := ctor.Open(t.Context(), ctor.Config{Root: filepath.Join(d.at, "root")})
		require.NoError(t, err, "the power was cut after %v", at)
		complete := p.sound(t, e)
		t.Logf("cut after %v, with %d blobs complete", at, len(complete))
		p.pull(t, e)
		require.NoError(t, e.Close())
	}
}
