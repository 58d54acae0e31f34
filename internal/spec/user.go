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

	"github.com/ctorhq/ctor/internal/rootfs"
)

// Where users and groups have their names.
const (
	passwd = "etc/passwd"
	group  = "etc/group"
)

// maxNameFile bounds an image's passwd and group.
const maxNameFile = 4 << 20

// User resolves "name", "uid", "name:group", "uid:gid" in the image's own
// passwd and group; "" is root. An image without those files knows numbers
// only. It gives the user's home as well, "/" if there is none.
func User(root *rootfs.Root, name string) (_ specs.User, home string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("user %q: %w", name, err)
		}
	}()
	if strings.ContainsAny(name, "\n\x00") {
		return specs.User{}, "", fmt.Errorf("not a name: %w", errdefs.ErrInvalidArgument)
	}
	users, err := nameFile(root, passwd)
	if err != nil {
		return specs.User{}, "", err
	}
	groups, err := nameFile(root, group)
	if err != nil {
		return specs.User{}, "", err
	}
	u, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, users, groups)
	switch {
	case errors.Is(err, user.ErrRange):
		return specs.User{}, "", fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	case err != nil:
		// It does not say which: a name that is in neither file.
		return specs.User{}, "", fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	}
	ids := specs.User{UID: uint32(u.Uid), GID: uint32(u.Gid), AdditionalGids: []uint32{uint32(u.Gid)}}
	for _, g := range u.Sgids {
		ids.AdditionalGids = append(ids.AdditionalGids, uint32(g))
	}
	if u.Home == "" || strings.ContainsRune(u.Home, 0) {
		u.Home = "/"
	}
	return ids, u.Home, nil
}

// nameFile reads a file that an image may have made anything of.
func nameFile(root *rootfs.Root, name string) (io.Reader, error) {
	f, err := root.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return strings.NewReader(""), nil
	}
	if err != nil {
		return nil, fmt.Errorf("/%s: %w: %w", name, err, errdefs.ErrInvalidArgument)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxNameFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxNameFile {
		return nil, fmt.Errorf("/%s has more than %d bytes: %w", name, maxNameFile, errdefs.ErrInvalidArgument)
	}
	return bytes.NewReader(b), nil
}
