package native

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
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
	fd, err := unix.Openat2(root, "etc/passwd", &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return unknown
	}
	f := os.NewFile(uintptr(fd), "passwd")
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return unknown
	}
	users, err := user.ParsePasswdFilter(io.LimitReader(f, maxPasswd), func(u user.User) bool { return u.Uid == int(uid) })
	if err != nil || len(users) == 0 || users[0].Home == "" || strings.ContainsRune(users[0].Home, 0) {
		return unknown
	}
	return users[0].Home
}
