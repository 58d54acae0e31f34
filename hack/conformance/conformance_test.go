// Package conformance runs the OCI's conformance suite for registries, that of
// the distribution-spec's own repository, against those of this module. The suite
// is a program and no package, hence a tool in a module of its own.
//
//	go test .       # half a minute the first time; needs root
//	go test -v .    # with the suite's own report
package conformance

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// least is how many tests the suite of go.mod has with all its parts switched on.
const least = 986

func TestEngine(t *testing.T) {
	e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	conform(t, image.Handler(e))
}

func TestMemory(t *testing.T) {
	h, err := registrytest.Handler(nil)
	if err != nil {
		t.Fatal(err)
	}
	conform(t, h)
}

func TestFiles(t *testing.T) {
	h, err := registrytest.Handler(&registrytest.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	conform(t, h)
}

// conform runs all of the suite: pull, push, content discovery and content
// management, with every kind of data, and what the specification has gained
// since 1.1. Nothing may fail or be skipped.
func conform(t *testing.T, h http.Handler) {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "conformance")
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+strings.TrimPrefix(srv.URL, "http://"),
		"OCI_TLS=disabled", "OCI_VERSION=dev", "OCI_RESULTS_DIR="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &out)
	}
	// It ends with 0 also where it has left tests out.
	b, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	var got struct {
		Tests    int `xml:"tests,attr"`
		Errors   int `xml:"errors,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Disabled int `xml:"disabled,attr"`
	}
	if err := xml.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if bad := got.Errors + got.Failures + got.Skipped + got.Disabled; bad > 0 || got.Tests < least {
		t.Errorf("%+v, want at least %d tests and nothing else\n%s", got, least, &out)
	}
	t.Logf("%+v\n%s", got, &out)
}
