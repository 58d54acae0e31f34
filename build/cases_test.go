package build_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// Each file in testdata is a case: an archive (golang.org/x/tools/txtar) whose
// comment says what it shows, and whose files are
//
//	options           one option a line: see setOption
//	context/...       the context, with its Dockerfile
//	contexts/NAME/... further ones
//	want/file/PATH    what a file of the image must hold
//	want/modes        lines "-rw-r--r-- 0:0 PATH"
//	want/absent       lines of paths that must not be there
//	want/config       JSON, a part of the image's configuration
//	want/out          what the image's command says
//	want/error        a regular expression for the error; and no image
//	want/at           "LINE CODE" of the error
//	want/steps        lines of regular expressions, each for a step's name
//	want/remarks      likewise, for remarks
//
// In each of them ${BASE} is an image of busybox.
func TestCases(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			e := containertest.Engine(t)
			base := fixture.Busybox(t, e)
			a, err := txtar.ParseFile(name)
			require.NoError(t, err)
			c := newTestCase(t, a, base.Ref())
			img, err := build.Build(t.Context(), e, c.context, &c.options)
			c.check(t, e, img, err)
		})
	}
}

// testCase is one file of testdata.
type testCase struct {
	context  fstest.MapFS
	contexts map[string]fstest.MapFS
	options  build.Options
	want     map[string]string
	steps    []string
	remarks  []string
}

func newTestCase(t *testing.T, a *txtar.Archive, base string) *testCase {
	c := &testCase{context: fstest.MapFS{}, contexts: map[string]fstest.MapFS{}, want: map[string]string{}}
	for _, f := range a.Files {
		data := strings.ReplaceAll(string(f.Data), "${BASE}", base)
		top, rest, _ := strings.Cut(f.Name, "/")
		switch top {
		case "options":
			for line := range strings.Lines(data) {
				c.setOption(t, strings.TrimSuffix(line, "\n"))
			}
		case "context":
			c.context[rest] = &fstest.MapFile{Data: []byte(data), Mode: 0o644}
		case "contexts":
			name, file, _ := strings.Cut(rest, "/")
			if c.contexts[name] == nil {
				c.contexts[name] = fstest.MapFS{}
			}
			c.contexts[name][file] = &fstest.MapFile{Data: []byte(data), Mode: 0o644}
		case "want":
			c.want[rest] = data
		default:
			t.Fatalf("%s: no such part of a case", f.Name)
		}
	}
	withDirs(c.context)
	for name, fsys := range c.contexts {
		withDirs(fsys)
		if c.options.Contexts == nil {
			c.options.Contexts = map[string]fs.FS{}
		}
		c.options.Contexts[name] = fsys
	}
	c.options.Progress = func(p build.Progress) {
		if p.Remark != "" {
			c.remarks = append(c.remarks, fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Remark))
		} else if p.Output == nil {
			c.steps = append(c.steps, fmt.Sprintf("%s %s", p.State, p.Name))
		}
	}
	if c.options.Network == nil {
		c.options.Network = new(container.Network)
	}
	return c
}

// withDirs adds the directories, which would else be read-only.
func withDirs(fsys fstest.MapFS) {
	for name := range maps.Clone(fsys) {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			fsys[dir] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
		}
	}
}

func (c *testCase) setOption(t *testing.T, line string) {
	name, value, _ := strings.Cut(line, " ")
	k, v, _ := strings.Cut(value, "=")
	put := func(m *map[string]string) {
		if *m == nil {
			*m = map[string]string{}
		}
		(*m)[k] = v
	}
	switch name {
	case "dockerfile":
		c.options.Dockerfile = value
	case "target":
		c.options.Target = value
	case "arg":
		put(&c.options.Args)
	case "label":
		put(&c.options.Labels)
	case "secret":
		if c.options.Secrets == nil {
			c.options.Secrets = map[string][]byte{}
		}
		c.options.Secrets[k] = []byte(v)
	case "tag":
		c.options.Tags = append(c.options.Tags, value)
	case "network":
		n := map[string]container.Network{
			"none": {}, "host": container.Host(), "public": container.Out(egress.Public),
		}[value]
		c.options.Network = &n
	case "privileged":
		c.options.Privileged = true
	case "nocache":
		c.options.NoCache = true
	case "mode": // PATH=MODE, of a file in the context
		c.context[k] = &fstest.MapFile{Mode: mode(t, v)}
	default:
		t.Fatalf("%s: no such option", name)
	}
}

func mode(t *testing.T, s string) fs.FileMode {
	var m fs.FileMode
	_, err := fmt.Sscanf(s, "%o", &m)
	require.NoError(t, err)
	return m
}

func (c *testCase) check(t *testing.T, e *ctor.Engine, img *image.Image, err error) {
	if want, ok := c.want["error"]; ok {
		require.Error(t, err)
		require.Regexp(t, regexp.MustCompile(strings.TrimSpace(want)), err.Error())
		require.Nil(t, img)
		var be *build.Error
		if at, ok := c.want["at"]; ok {
			require.ErrorAs(t, err, &be)
			require.Equal(t, strings.TrimSpace(at), fmt.Sprintf("%d %d", be.Line, be.ExitCode))
		}
	} else {
		var be *build.Error
		if errors.As(err, &be) {
			t.Logf("%s", be.Output)
		}
		require.NoError(t, err)
		c.checkImage(t, e, img)
	}
	anyOf(t, c.want["steps"], c.steps)
	anyOf(t, c.want["remarks"], c.remarks)
}

// anyOf checks that each line of want matches one of got.
func anyOf(t *testing.T, want string, got []string) {
	for line := range strings.Lines(want) {
		require.Regexp(t, regexp.MustCompile("(?m)^"+strings.TrimSpace(line)+"$"), strings.Join(got, "\n"))
	}
}

func (c *testCase) checkImage(t *testing.T, e *ctor.Engine, img *image.Image) {
	root, err := img.FS(t.Context())
	require.NoError(t, err)
	defer root.Close()
	for name, want := range c.want {
		kind, file, _ := strings.Cut(name, "/")
		switch kind {
		case "file":
			got, err := fs.ReadFile(root, file)
			require.NoError(t, err)
			require.Equal(t, want, string(got), file)
		case "modes":
			for line := range strings.Lines(want) {
				f := strings.Fields(line)
				st, err := fs.Lstat(root, f[2])
				require.NoError(t, err)
				sys := st.Sys().(*syscall.Stat_t)
				require.Equal(t, strings.TrimSpace(line), fmt.Sprintf("%v %d:%d %s", st.Mode(), sys.Uid, sys.Gid, f[2]))
			}
		case "absent":
			for line := range strings.Lines(want) {
				_, err := fs.Lstat(root, strings.TrimSpace(line))
				require.ErrorIs(t, err, fs.ErrNotExist, line)
			}
		case "config":
			checkConfig(t, e, img, want)
		case "out":
			var out bytes.Buffer
			run, err := img.Run(t.Context(), container.Config{Stdout: &out, Stderr: &out})
			require.NoError(t, err)
			require.NoError(t, run.Wait(t.Context()), out.String())
			require.NoError(t, run.Close())
			require.Equal(t, want, out.String())
		case "steps", "remarks":
		default:
			t.Fatalf("want/%s: no such part of a case", name)
		}
	}
}

// checkConfig reads the configuration as it is, with what is Docker's alone.
func checkConfig(t *testing.T, e *ctor.Engine, img *image.Image, want string) {
	var manifest ocispec.Manifest
	blob(t, e, img.Digest(), &manifest)
	var got struct{ Config map[string]any }
	blob(t, e, manifest.Config.Digest, &got)
	var wanted map[string]any
	require.NoError(t, json.Unmarshal([]byte(want), &wanted))
	for k, v := range wanted {
		require.Equal(t, v, got.Config[k], k)
	}
}
