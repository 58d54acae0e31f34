package ctor

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/containerd/containerd/v2/pkg/identifiers"

	"github.com/ctorhq/ctor/internal/host"
)

// Config says where an engine keeps its things. The zero value is an engine in
// DefaultRoot that logs nothing.
type Config struct {
	// Root is the directory of images, snapshots and instances. It is made if
	// missing, with mode 0700. One engine at a time can have it open. "" means
	// DefaultRoot. A relative path is taken from the working directory of the
	// Open.
	//
	// It must be the program's user's, no link, and writable for no other user;
	// and on the way to it there must be nothing that other users, root but, own,
	// or could rename: a directory made in /tmp is fine, one in another user's
	// home is not. Else Open fails with ErrUnavailable.
	Root string

	// Namespace is the containerd namespace of everything the engine makes;
	// engines with different namespaces on one containerd do not see each
	// other's images and containers. "" means "ctor".
	Namespace string

	// Snapshotter is how layers are laid over each other: "overlayfs", or
	// "native", which copies and works everywhere. "" means overlayfs where
	// the kernel and the root's file system offer it, else native. With Dial,
	// any snapshotter of that containerd; "" is its overlayfs.
	Snapshotter string

	// Shim is the path of the shim, or its name on PATH: the process between
	// the engine and its containers. "" means containerd-shim-ctor-v2 beside
	// the program or on PATH, which runs containers with libcontainer; where
	// there is none, the program is its own shim, and runs them with the runc
	// command, or crun where there is no runc, which takes about twice as long.
	// Dial does not use it. Engine.Info tells what was found.
	Shim string

	// Logger receives what the engine and containerd's services have to say,
	// possibly from many goroutines at once. nil is silence.
	Logger *slog.Logger
}

// DefaultRoot is where an engine lives when its Config names no root:
// /var/lib/ctor for root, else ctor in the user's data directory
// ($XDG_DATA_HOME, ~/.local/share). Root of a user namespace is such a user, unless
// /var/lib is its own, as in a container.
func DefaultRoot() string {
	if os.Geteuid() == 0 && host.OwnsSystem() {
		return "/var/lib/ctor"
	}
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "ctor")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	return filepath.Join(home, ".local/share/ctor")
}

// complete fills in defaults. It touches nothing.
func (cfg *Config) complete() error {
	if cfg.Root == "" {
		cfg.Root = DefaultRoot()
	}
	if cfg.Namespace == "" {
		cfg.Namespace = "ctor"
	}
	if err := identifiers.Validate(cfg.Namespace); err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return fmt.Errorf("root %q: %w", cfg.Root, err)
	}
	if !utf8.ValidString(root) {
		return fmt.Errorf("root %q: the path is not UTF-8, and a runtime is told it in JSON (%w)", root, ErrInvalid)
	}
	cfg.Root = root
	return nil
}

// makeRoot makes the root. A root, or a way to it, that others have made or can
// change is theirs: what the engine reads there would be what they have put
// there, and what it writes there would be where they want it.
func makeRoot(root string) error {
	for _, check := range []func(string) error{host.CheckWay, host.CheckOwn} {
		if err := check(root); err != nil {
			return fmt.Errorf("root %s can't be trusted: %w", root, err)
		}
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fmt.Errorf("root %s can't be made: %w (%w): choose another Config.Root", root, err, ErrUnavailable)
	}
	return nil
}
