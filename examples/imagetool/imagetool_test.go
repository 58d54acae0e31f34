package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// world is a registry with an image, and a store.
type world struct {
	*testing.T
	host, root, dir string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t, registrytest.NewServer(t, nil).Host, t.TempDir(), t.TempDir()}
	e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	noise := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	one := func(name string, data []byte) layer.Layer {
		return layer.FromFS(fstest.MapFS{name: {Data: data, Mode: 0o644}}, &layer.Options{CreatedBy: "add " + name})
	}
	for tag, motd := range map[string]string{"v1": "hello", "v2": "hello again"} {
		img, err := image.New(t.Context(), e, "app:"+tag, ocispec.ImageConfig{Cmd: []string{"/x"}, Labels: map[string]string{"tag": tag}},
			one("opt/noise", noise), one("etc/motd", []byte(motd)), one("opt/"+tag, nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := img.Push(t.Context(), w.host+"/team/app:"+tag, nil); err != nil {
			t.Fatal(err)
		}
	}
	r, err := registry.New(w.host, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Attach(t.Context(), "team/app:v1", "application/spdx+json", map[string][]byte{"sbom.json": []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	return w
}

// run runs the tool, and gives what it prints.
func (w *world) run(code int, line string, args ...string) string {
	w.Helper()
	fields := strings.Fields(strings.NewReplacer("HOST", w.host, "DIR", w.dir).Replace(line))
	var out, errs bytes.Buffer
	t := tool{stdout: &out, stderr: &errs}
	if got := t.run(w.Context(), append([]string{"-root", w.root}, append(fields, args...)...)); got != code {
		w.Fatalf("%s: exit code %d, not %d\n%s%s", line, got, code, &out, &errs)
	}
	return out.String() + errs.String()
}

// says fails the test unless the tool says all of it.
func (w *world) says(line string, all ...string) string {
	w.Helper()
	out := w.run(0, line)
	for _, s := range all {
		if s = strings.ReplaceAll(s, "HOST", w.host); !strings.Contains(out, s) {
			w.Errorf("%s: no %q in\n%s", line, s, out)
		}
	}
	return out
}

func TestTool(t *testing.T) {
	w := newWorld(t)
	w.says("tags HOST/team/app", "v1\nv2\n")
	w.says("search HOST/app", "team/app")
	w.says("inspect HOST/team/app:v1", "HOST/team/app:v1", `"architecture": "`+runtime.GOARCH, `"Cmd": [`)
	w.says("tree HOST/team/app:v1", "HOST/team/app:v1  ", "├── ", "└── about it: application/spdx+json", "sbom.json")
	w.says("copy -referrers HOST/team/app:v1 oci:DIR/layout:v1", "complete", "sha256:")
	w.says("copy oci:DIR/layout:v1 HOST/team/app:v3", "exists")
	w.says("pull HOST/team/app:v1 HOST/team/app:v2", "complete", "exists", "HOST/team/app:v2\nsha256:")
	w.says("pull -newer HOST/team/app:v1", "HOST/team/app:v1\nsha256:")
	w.says("images", "HOST/team/app:v1", "linux/"+runtime.GOARCH)
	w.says("layers HOST/team/app:v1", "add opt/noise", "gzip")
	w.says("layers -files HOST/team/app:v1", "0       -rw-r--r--   300 kB   /opt/noise", "1       -rw-r--r--   5 B      /etc/motd")
	w.says("diff HOST/team/app:v1 HOST/team/app:v2", "C /etc\nC /etc/motd\nC /opt\nD /opt/v1\nA /opt/v2\n")
	w.says("squash HOST/team/app:v1 flat", "docker.io/library/flat:latest\nsha256:")
	if out := w.says("diff HOST/team/app:v1 flat"); out != "" {
		t.Errorf("squashed, and another: %s", out)
	}
	w.says("squash -from 2 HOST/team/app:v1 flat:2", "flat:2")
	w.says("push flat HOST/flat:v1", "complete", "HOST/flat:v1@sha256:")
	w.says("du", "HOST/team/app:v1", "in all")
	w.says("check", "all is as its digest says")
	w.says("prune -n -keep tag=v2", "HOST/team/app:v1", "would be free")
	w.says("prune -older 1h", "0 B freed")
	w.says("prune -keep tag=v2", "flat:2", "HOST/team/app:v1", "freed")
	w.says("images", "HOST/team/app:v2")

	// A disk that fails.
	blobs, err := filepath.Glob(filepath.Join(w.root, "containerd/*content/blobs/sha256/*"))
	if err != nil || len(blobs) == 0 {
		t.Fatalf("%d blobs: %v", len(blobs), err)
	}
	for _, b := range blobs {
		if i, err := os.Stat(b); err == nil && i.Size() > 100_000 {
			if err := os.Truncate(b, 7); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out := w.run(1, "check"); !strings.Contains(out, "it has 7 bytes, not") || !strings.Contains(out, "-repair") {
		t.Error(out)
	}
	w.says("check -repair", "1 parts are mended")
	w.says("check", "all is as its digest says")
}

// A line that can't be understood is told of; what fails is as well.
func TestToolErrors(t *testing.T) {
	w := &world{t, "127.0.0.1:1", t.TempDir(), t.TempDir()}
	for line, says := range map[string]string{
		"":                   "usage: imagetool",
		"none":               `no command "none"`,
		"copy one":           "usage: imagetool copy from to",
		"pull":               "with 0 arguments",
		"pull -none x":       "flag provided but not defined",
		"squash -from x a b": "invalid value",
	} {
		if out := w.run(2, line); !strings.Contains(out, says) {
			t.Errorf("%q: no %q in\n%s", line, says, out)
		}
	}
	w.run(0, "-h")
	w.run(0, "prune -h")
	for _, line := range []string{"layers none", "diff none none", "push none", "copy oci:DIR/none HOST/x", "tags UPPER", "squash none"} {
		if line == "squash none" {
			w.run(2, line)
			continue
		}
		w.run(1, line)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	ended := tool{stdout: &out, stderr: &out}
	if code := ended.run(ctx, []string{"-root", w.root, "pull", "x"}); code != 130 {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

// What an image says is no order for a terminal.
func TestVisible(t *testing.T) {
	if got := visible("a\x1b[2Jb\x9bc\xffd\u0085"); strings.ContainsAny(got, "\x1b\u009b\u0085") || !strings.Contains(got, "[2Jb") {
		t.Errorf("%q", got)
	}
}
