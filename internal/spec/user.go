package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxNameFile bounds an image's passwd and group.
const maxNameFile = 4 << 20

// User resolves "name", "uid", "name:group", "uid:gid" in the image's own
// passwd and group; "" is root. An image without those files knows numbers
// only.
func User(root *os.Root, name string) (specs.User, error) {
	if strings.ContainsAny(name, "\n\x00") {
		return specs.User{}, fmt.Errorf("user %q: %w", name, errdefs.ErrInvalidArgument)
	}
	passwd, err := nameFile(root, "etc/passwd")
	if err != nil {
		return specs.User{}, fmt.Errorf("user %q: %w", name, err)
	}
	group, err := nameFile(root, "etc/group")
	if err != nil {
		return specs.User{}, fmt.Errorf("user %q: %w", name, err)
	}
	u, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, passwd, group)
	switch {
	case errors.Is(err, user.ErrNoPasswdEntries), errors.Is(err, user.ErrNoGroupEntries):
		return specs.User{}, fmt.Errorf("user %q: %w: %w", name, err, errdefs.ErrNotFound)
	case errors.Is(err, user.ErrRange):
		return specs.User{}, fmt.Errorf("user %q: %w: %w", name, err, errdefs.ErrInvalidArgument)
	case err != nil:
		// It does not say of which kind: a name that is in neither file.
		return specs.User{}, fmt.Errorf("user %q: %w: %w", name, err, errdefs.ErrNotFound)
	}
	ids := specs.User{UID: uint32(u.Uid), GID: uint32(u.Gid)}
	for _, g := range append([]int{u.Gid}, u.Sgids...) {
		ids.AdditionalGids = append(ids.AdditionalGids, uint32(g))
	}
	return ids, nil
}

// nameFile reads a file that an image may have made anything of: a fifo must
// not hang it, a device not be read, a huge file not fill memory.
func nameFile(root *os.Root, name string) (io.Reader, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return strings.NewReader(""), nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxNameFile {
		return nil, fmt.Errorf("the image's /%s is no regular file of at most %d bytes: %w", name, maxNameFile, errdefs.ErrInvalidArgument)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxNameFile))
	return bytes.NewReader(b), err
}
