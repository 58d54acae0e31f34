package spec

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
)

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
	who, ofGroup, _ := strings.Cut(name, ":")
	users, err := readNames(root, passwd, who, 2, 3)
	if err != nil {
		return specs.User{}, "", err
	}
	groups, err := readNames(root, group, ofGroup, 2)
	if err != nil {
		return specs.User{}, "", err
	}
	u, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, bytes.NewReader(users), bytes.NewReader(groups))
	switch {
	case errors.Is(err, user.ErrRange):
		return specs.User{}, "", fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	case err != nil:
		// The error does not say which of the files lacks the name.
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
