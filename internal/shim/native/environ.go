package native

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// environ is a process's environment: of one name the last, and with the home that
// its user has in the root file system, unless it has one.
func environ(p *specs.Process, root int) ([]string, error) {
	var env []string
	seen := map[string]bool{"HOME": value(p.Env, "HOME") == ""}
	for _, e := range slices.Backward(p.Env) {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || strings.ContainsRune(e, 0) {
			return nil, fmt.Errorf("environment variable %q is not of the form NAME=value: %w", e, errdefs.ErrInvalidArgument)
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		env = append(env, e)
	}
	slices.Reverse(env)
	if value(env, "HOME") == "" {
		env = append(env, "HOME="+home(root, p.User.UID))
	}
	return env, nil
}

// maxPasswd bounds what is read of a passwd, in bytes.
const maxPasswd = 4 << 20

// home looks up a user's in the passwd of a root file system, which may be anything.
func home(root int, uid uint32) string {
	const unknown = "/"
	r, err := rootfs.At(root)
	if err != nil {
		return unknown
	}
	defer r.Close()
	f, err := r.Open("etc/passwd")
	if err != nil {
		return unknown
	}
	defer f.Close()
	users, err := user.ParsePasswdFilter(io.LimitReader(f, maxPasswd), func(u user.User) bool { return u.Uid == int(uid) })
	if err != nil || len(users) == 0 || users[0].Home == "" || strings.ContainsRune(users[0].Home, 0) {
		return unknown
	}
	return users[0].Home
}
