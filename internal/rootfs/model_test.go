package rootfs_test

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// go test ./internal/rootfs -run 'TestModel|TestUmoci' -sequences 10000 [-seed N]
var (
	sequences = flag.Int("sequences", 60, "random sequences of layers to compare, a tenth of them with umoci")
	seed      = flag.Uint64("seed", 1, "of the first sequence")
)

// model is a tree as layers make it, by the plainest code that can.
type model struct {
	files map[string]*entry // the same one for all names of a file
	own   map[string]bool   // the layer's names
}

func (m *model) apply(e entry) {
	name := path.Clean(e.Name)
	gone, marker := strings.CutPrefix(path.Base(name), ".wh.")
	switch target := path.Join(path.Dir(name), gone); {
	case gone == ".wh..opq":
		m.drop(func(n string) bool { return below(n, path.Dir(name)) && !m.own[n] })
		return
	case marker:
		m.drop(func(n string) bool { return (n == target || below(n, target)) && !m.own[n] })
		return
	}
	is, file := m.files[name], &e
	if e.Typeflag == tar.TypeLink {
		file = m.files[e.Linkname]
	}
	if file.Typeflag != tar.TypeDir || is == nil || is.Typeflag != tar.TypeDir {
		m.drop(func(n string) bool { return below(n, name) })
	}
	m.files[name] = file
	for n := name; n != "."; n = path.Dir(n) {
		m.own[n] = true
		if m.files[n] == nil {
			m.files[n] = &entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
		}
	}
}

func below(name, dir string) bool {
	return name != "." && (dir == "." || strings.HasPrefix(name, dir+"/"))
}

func (m *model) drop(which func(name string) bool) {
	maps.DeleteFunc(m.files, func(name string, _ *entry) bool { return which(name) })
}

// listed describes the tree as the function of that name does.
func (m *model) listed() map[string]string {
	kinds := map[byte]int64{
		tar.TypeReg: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR, tar.TypeSymlink: unix.S_IFLNK, tar.TypeFifo: unix.S_IFIFO, tar.TypeChar: unix.S_IFCHR,
	}
	all, names := map[string]string{}, map[*entry][]string{}
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		names[m.files[name]] = append(names[m.files[name]], name)
	}
	for name, e := range m.files {
		what, when, attributes := "", "", []string{}
		switch e.Typeflag {
		case tar.TypeReg:
			what = fmt.Sprintf("%x", sha256.Sum256([]byte(e.data)))[:8]
		case tar.TypeSymlink:
			what = e.Linkname
		case tar.TypeChar:
			what = fmt.Sprintf("%x", unix.Mkdev(uint32(e.Devmajor), uint32(e.Devminor)))
		}
		if n := names[e]; len(n) > 1 {
			what += " = " + n[0]
		}
		if !e.ModTime.IsZero() {
			when = e.ModTime.UTC().Format(time.RFC3339Nano)
		}
		for key, value := range e.PAXRecords {
			attributes = append(attributes, strings.TrimPrefix(key, "SCHILY.xattr.")+"="+value)
		}
		all[name] = fmt.Sprintf("%o %d:%d %s %q %s", kinds[e.Typeflag]|e.Mode, e.Uid, e.Gid, when, attributes, what)
	}
	return all
}

// random makes layers, of few names so that they meet, and the tree they stand for.
func random(t testing.TB, seed uint64) (layers [][]byte, said []string, m *model) {
	r := rand.New(rand.NewPCG(seed, 0))
	m = &model{files: map[string]*entry{".": {Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}}}
	for range 1 + r.IntN(4) {
		m.own = map[string]bool{}
		var all []entry
		for range 1 + r.IntN(10) {
			e, ok := one(r, m)
			if !ok {
				continue
			}
			e.Name += map[bool]string{true: "/"}[e.Typeflag == tar.TypeDir]
			m.apply(e)
			all = append(all, e)
			said = append(said, fmt.Sprintf("%c %s %s", e.Typeflag, e.Name, e.Linkname))
		}
		layers = append(layers, layerOf(t, all...))
		said = append(said, "--")
	}
	return layers, said, m
}

// one makes an entry that there may be.
func one(r *rand.Rand, m *model) (e entry, ok bool) {
	name := "."
	for range 1 + r.IntN(3) {
		if in := m.files[name]; in != nil && in.Typeflag != tar.TypeDir {
			return e, false
		}
		name = path.Join(name, string(rune('a'+r.IntN(3))))
	}
	e.Header = tar.Header{
		Name: name, Mode: []int64{0o644, 0o4755, 0o700}[r.IntN(3)], Uid: []int{0, 1000, 4e9}[r.IntN(3)], Gid: r.IntN(3),
		ModTime: then.Add(time.Duration(r.IntN(1e9)) * time.Microsecond),
	}
	switch r.IntN(12) {
	case 0, 1, 2:
		e.Name = path.Join(path.Dir(name), ".wh."+path.Base(name))
		e.Typeflag = tar.TypeReg
	case 3:
		e.Name, e.Typeflag = path.Join(path.Dir(name), ".wh..wh..opq"), tar.TypeReg
	case 4, 5, 6:
		e.Typeflag = tar.TypeDir
		if r.IntN(10) == 0 {
			e.Name = "."
		}
	case 7:
		e.Typeflag, e.Linkname, e.Mode = tar.TypeSymlink, "a/b", 0o777
	case 8:
		e.Typeflag = tar.TypeFifo
		if r.IntN(2) == 0 {
			e.Typeflag, e.Devmajor, e.Devminor = tar.TypeChar, 1, 3
		}
	case 9:
		e.Typeflag, e.Mode, e.Uid = tar.TypeLink, 0, 0
		var files []string
		for n, f := range m.files {
			if f.Typeflag != tar.TypeDir && n != name && !below(n, name) {
				files = append(files, n)
			}
		}
		if len(files) == 0 {
			return e, false
		}
		slices.Sort(files)
		e.Linkname = files[r.IntN(len(files))]
	default:
		e.Typeflag, e.data = tar.TypeReg, fmt.Sprint(r.IntN(5))
		e.Size = int64(len(e.data))
		if r.IntN(3) == 0 {
			e.PAXRecords = map[string]string{"SCHILY.xattr.user.x": e.data}
		}
	}
	return e, true
}

// Whatever a layer says in whatever order, the tree is that of the model.
func TestModel(t *testing.T) {
	for i := range *sequences {
		layers, said, m := random(t, *seed+uint64(i))
		ok := t.Run(fmt.Sprint("seed ", *seed+uint64(i)), func(t *testing.T) {
			require.Equal(t, m.listed(), inAllWays(t, layers...), "%s", strings.Join(said, "\n"))
		})
		require.True(t, ok)
	}
	t.Logf("%d of %d layers could be unpacked before those below", joined.Load(), drafted.Load())
	require.Positive(t, joined.Load())
}

var timed = regexp.MustCompile(`2020-\S*`)

// And it is umoci's.
func TestUmoci(t *testing.T) {
	umoci, err := exec.LookPath("umoci")
	if err != nil {
		t.Skip("umoci is not installed: hack/setup test")
	}
	for i := range (*sequences + 9) / 10 {
		layers, said, _ := random(t, *seed+uint64(i))
		ok := t.Run(fmt.Sprint("seed ", *seed+uint64(i)), func(t *testing.T) {
			began := time.Now().Add(-time.Hour)
			image := t.TempDir()
			layout(t, image, layers)
			out, err := exec.Command(umoci, "raw", "unpack", "--image", image+":t", image+"/root").CombinedOutput()
			require.NoError(t, err, "%s\n%s", out, strings.Join(said, "\n"))
			want, got := listed(t, image+"/root", began), inAllWays(t, layers...)
			epoch := "1970-01-01T00:00:00Z" // of a root that umoci made, but not always
			want["."] = strings.Replace(want["."], epoch, "", 1)
			for name, what := range want { // umoci forgets the time of some directories that it removes things from
				if strings.HasPrefix(what, "4") && !timed.MatchString(what) {
					got[name] = timed.ReplaceAllString(got[name], "")
				}
			}
			require.Equal(t, want, got, "%s", strings.Join(said, "\n"))
		})
		require.True(t, ok)
	}
}

// layout writes an image of layers to a directory.
func layout(t testing.TB, dir string, layers [][]byte) {
	t.Helper()
	blob := func(mediaType string, v any) ocispec.Descriptor {
		b, ok := v.([]byte)
		if !ok {
			var err error
			b, err = json.Marshal(v)
			require.NoError(t, err)
		}
		d := digest.FromBytes(b)
		at := filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded())
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		require.NoError(t, os.WriteFile(at, b, 0o644))
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
	}
	config := ocispec.Image{Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"}, RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		manifest.Layers = append(manifest.Layers, blob(ocispec.MediaTypeImageLayer, l))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
	}
	manifest.Config = blob(ocispec.MediaTypeImageConfig, config)
	top := blob(ocispec.MediaTypeImageManifest, manifest)
	top.Annotations = map[string]string{ocispec.AnnotationRefName: "t"}
	for name, v := range map[string]any{
		ocispec.ImageLayoutFile: ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion},
		ocispec.ImageIndexFile:  ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{top}},
	} {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
	}
}
