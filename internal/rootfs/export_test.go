package rootfs

import "github.com/containerd/containerd/v2/core/mount"

// OpenDetached and OpenApart are the two ways of Open: which of them it takes
// depends on the kernel.
func OpenDetached(mounts []mount.Mount, _ string) (*Root, error) {
	dir, err := openDetached(mounts)
	if err != nil {
		return nil, err
	}
	return &Root{dir}, nil
}

func OpenApart(mounts []mount.Mount, at string) (r *Root, err error) {
	apart(func() {
		dir, aerr := openApart(mounts, at)
		r, err = &Root{dir}, aerr
	})
	return r, err
}
