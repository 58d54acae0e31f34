package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// loopbackEnv marks a bench that is the registry, and says of which directory.
const loopbackEnv = "CTOR_BENCH_REGISTRY"

// loopback is the registry that all pull from: another process, whose time and
// memory count for no peer, and which does as little as a registry can. It ends with
// its standard input.
func loopback(dir string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r, dir) }))
}

// answer serves the manifest or a blob of the repository that a directory is
// named after.
func answer(w http.ResponseWriter, r *http.Request, dir string) {
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // v2, repository, kind, tag or digest
	if len(part) != 4 {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		return
	}
	repository := filepath.Join(dir, filepath.Base(part[1]))
	w.Header().Set("Content-Type", "application/octet-stream")
	if part[2] != "manifests" {
		_, name, _ := strings.Cut(part[3], ":")
		http.ServeFile(w, r, filepath.Join(repository, filepath.Base(name)))
		return
	}
	manifest, err := os.ReadFile(filepath.Join(repository, "manifest"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	w.Header().Set("Docker-Content-Digest", digest.FromBytes(manifest).String())
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(manifest))
}

// needRegistry starts the registry of a directory and gives its address.
func (b *bench) needRegistry(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, b.program)
	cmd.Env = append(os.Environ(), loopbackEnv+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C is for the bench
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	b.later(func() error {
		in.Close()
		return cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), err
}
