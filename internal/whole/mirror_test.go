package whole

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
)

// The mirror is a server that has a Debian package and a Go module, at an address
// of documentation (RFC 5737), which a policy takes for public.
const (
	mirrorName = "mirror.test"
	mirrorAddr = "203.0.113.2"
)

// mirror makes the directory that it serves, with the help of a Debian.
func mirror(t *testing.T, debian *image.Image) (dir string) {
	t.Helper()
	dir = t.TempDir()
	aptRepository(t, debian, dir)
	goModule(t, filepath.Join(dir, "ctor.test", "greeting", "@v"))
	return dir
}

// aptRepository makes a flat repository (sources.list(5)) of one package.
func aptRepository(t *testing.T, debian *image.Image, dir string) {
	t.Helper()
	const control = "Package: ctor-greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@ctor.test>\nDescription: says hello\n"
	c, err := debian.Run(t.Context(), container.Config{
		Env: []string{"CONTROL=" + control},
		Args: []string{"sh", "-ec", `
			mkdir -p /p/DEBIAN /p/usr/bin
			printf '%s' "$CONTROL" >/p/DEBIAN/control
			printf '#!/bin/sh\necho hello from a package\n' >/p/usr/bin/ctor-greeting
			chmod 755 /p/usr/bin/ctor-greeting
			dpkg-deb --root-owner-group --build /p /greeting.deb`},
	})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Wait(t.Context()))
	deb, err := fs.ReadFile(c.FS(), "greeting.deb")
	require.NoError(t, err)

	packages := fmt.Sprintf("%sFilename: ./greeting.deb\nSize: %d\nSHA256: %x\n\n", control, len(deb), sha256.Sum256(deb))
	release := fmt.Sprintf("Date: %s\nSHA256:\n %x %d Packages\n", time.Now().UTC().Format(time.RFC1123), sha256.Sum256([]byte(packages)), len(packages))
	write(t, dir, map[string]string{"greeting.deb": string(deb), "Packages": packages, "Release": release})
}

// goModule makes what the module proxy's protocol has of one version
// (go.dev/ref/mod#goproxy-protocol).
func goModule(t *testing.T, dir string) {
	t.Helper()
	const mod = "module ctor.test/greeting\n\ngo 1.21\n"
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for name, content := range map[string]string{"go.mod": mod, "greeting.go": "package greeting\n\nconst Text = \"hello from a module\"\n"} {
		f, err := w.Create("ctor.test/greeting@v1.0.0/" + name)
		require.NoError(t, err)
		_, err = io.WriteString(f, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	write(t, dir, map[string]string{
		"list": "v1.0.0\n", "v1.0.0.info": `{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}`,
		"v1.0.0.mod": mod, "v1.0.0.zip": archive.String(),
	})
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
}

// helpMirror serves a directory.
func helpMirror(args []string) error {
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	go http.Serve(l, http.FileServer(http.Dir(args[0])))
	ready()
	return nil
}

// knowMirror has this program's resolver know the mirror's name, and no other.
func knowMirror() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			for answerOne(there) == nil {
			}
		}()
		return here, nil
	}}
}

// answerOne answers one question as a name server does over TCP.
func answerOne(c net.Conn) error {
	var size uint16
	if err := binary.Read(c, binary.BigEndian, &size); err != nil {
		return err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		return err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Name.String() != mirrorName+"." {
		m.RCode = dnsmessage.RCodeNameError
	} else if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(mirrorAddr).To4())},
		}}
	}
	answer, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}
