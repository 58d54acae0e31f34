package main

import "context"

// bwrap is the least that an isolated process costs as a command: namespaces
// and a root, without cgroups, an overlay or a seccomp filter.
type bwrap struct{ path, rootfs string }

func (w *bwrap) name() string { return "bwrap --unshare-all" }

func (w *bwrap) start(_ context.Context, b *bench) (err error) {
	w.rootfs = b.image.rootfs
	w.path, err = need("bwrap", "bubblewrap")
	return err
}

func (w *bwrap) life(ctx context.Context) error {
	return execute(ctx, nil, w.path, "--unshare-all", "--die-with-parent",
		"--bind", w.rootfs, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true")
}
