package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing/fstest"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/ctorhq/ctor/hack/internal/foreign"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// references are what the tests pull. What stands for hellofs and Debian here is not
// what the tests need of them.
var references = []string{
	"library/busybox:latest", "library/busybox:stable-musl", "library/alpine:latest",
	"tonistiigi/hellofs:latest", "amd64/debian:bullseye-20230109-slim",
}

// more are what the tests use of Alpine and its busybox, and Debian's does not have.
var more = map[string]string{
	"etc/alpine-release": "3.18.4\n",
	"etc/passwd":         "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n",
	"etc/group":          "root:x:0:\ndaemon:x:1:\nwheel:x:10:root\nnobody:x:65534:\n",
	"bin/addgroup": `#!/bin/sh
gid=1000
while grep -q ":$gid:" /etc/group; do gid=$((gid + 1)); done
while getopts g:S o; do case $o in g) gid=$OPTARG;; esac; done
shift $((OPTIND - 1))
if [ $# = 2 ]; then sed -i "s/^\($2:.*[^:]\)\$/\1,$1/; s/^\($2:.*:\)\$/\1$1/" /etc/group; else echo "$1:x:$gid:" >> /etc/group; fi
`,
	"bin/adduser": `#!/bin/sh
uid=1000 group= home=
while grep -q "x:$uid:" /etc/passwd; do uid=$((uid + 1)); done
while getopts Du:G:h:s:HS o; do case $o in u) uid=$OPTARG;; G) group=$OPTARG;; h) home=$OPTARG;; esac; done
shift $((OPTIND - 1))
if [ $# = 2 ]; then exec addgroup "$1" "$2"; fi
if [ -z "$group" ]; then group=$1; addgroup -g $uid $1; fi
gid=$(grep "^$group:" /etc/group | cut -d: -f3)
home=${home:-/home/$1}
echo "$1:x:$uid:$gid::$home:/bin/sh" >> /etc/passwd
mkdir -p "$home"; chown $uid:$gid "$home"
`,
}

// mirrorDir names the directory whose registry has the images.
const mirrorDir = "BUILDKIT_REGISTRY_MIRROR_DIR"

// serve is a registry on a port of loopback that it tells, until it is told to end.
func serve(config string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	handler, err := registrytest.Handler(nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: handler}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	go func() { _ = s.Serve(l) }()
	if dir := os.Getenv(mirrorDir); dir != "" && filepath.Dir(config) == dir { // what all tests pull from
		if err := fill(ctx, l.Addr().String()); err != nil {
			return err
		}
	}
	// As the tests look for it.
	fmt.Fprintf(os.Stderr, "listening on %s\n", l.Addr())
	<-ctx.Done()
	return nil
}

// fill pushes all images.
func fill(ctx context.Context, host string) error {
	box, err := foreign.Busybox()
	if err != nil {
		return err
	}
	for name, text := range more {
		box[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o755}
	}
	img, err := foreign.NewImage(ctx, []ocispec.Platform{platforms.DefaultSpec()}, box)
	if err != nil {
		return err
	}
	for _, ref := range references {
		name, tag, _ := strings.Cut(ref, ":")
		repo, err := remote.NewRepository(host + "/" + name)
		if err != nil {
			return err
		}
		repo.PlainHTTP = true
		if err := img.Push(ctx, repo, tag); err != nil {
			return fmt.Errorf("push %s: %w", ref, err)
		}
	}
	return nil
}
