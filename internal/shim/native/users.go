package native

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
)

// users are a container's in a user namespace of its own, with the other namespaces
// over which root in there has power. nil: its users are the host's.
//
// A process of the host's makes the mounts, so it can do all that it can without a
// user namespace, and joins this one last. So mounts, processes' numbers and cgroups
// belong to the host: root in the container can't mount or unmount, also with
// CAP_SYS_ADMIN, before it has made a mount namespace of its own.
type users struct {
	uids, gids []specs.LinuxIDMapping
	namespace  int // by its descriptor
	others     map[uint32]int
}

// theirs are the namespaces that belong to a container's users, if it has own ones.
const theirs = unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

var inProc = map[uint32]string{
	unix.CLONE_NEWUSER: "user", unix.CLONE_NEWNET: "net", unix.CLONE_NEWUTS: "uts", unix.CLONE_NEWIPC: "ipc",
}

// makeUsers makes a user namespace, and own ones of the others that it has power over.
// They are made by a process that does nothing else; the script keeps them.
func (e *Executor) makeUsers(ctx context.Context, s *forker.Script, l *specs.Linux, own uint32) (_ *users, err error) {
	if len(l.UIDMappings) == 0 {
		return nil, nil
	}
	kinds := unix.CLONE_NEWUSER | own&theirs
	var holding forker.Script
	holding.DeathSignal()
	holding.Ready()
	child, err := e.pool.Fork(ctx, forker.Order{Namespaces: uint64(kinds), Cgroup: -1, Pids: -1, Script: &holding})
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", explainUsers(err))
	}
	defer end(child)
	if _, err := child.Ready(ctx); err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	for name, m := range map[string][]specs.LinuxIDMapping{"uid_map": l.UIDMappings, "gid_map": l.GIDMappings} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", child.Pid, name), []byte(lines(m)), 0); err != nil {
			return nil, fmt.Errorf("users of a user namespace: %w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	u := &users{uids: l.UIDMappings, gids: l.GIDMappings, namespace: -1, others: map[uint32]int{}}
	for kind, name := range inProc {
		if kinds&kind == 0 {
			continue
		}
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", child.Pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("%s namespace: %w", name, err)
		}
		s.Own(fd)
		if kind == unix.CLONE_NEWUSER {
			u.namespace = fd
		} else {
			u.others[kind] = fd
		}
	}
	return u, nil
}

// end ends a process that waits for its start.
func end(child *forker.Child) {
	child.Close()
	for {
		if _, err := unix.Wait4(child.Pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

func explainUsers(err error) error {
	for _, s := range []string{unix.ENOSPC.Error(), unix.EPERM.Error()} {
		if strings.Contains(err.Error(), s) {
			return fmt.Errorf("%w (%w): sysctl -w user.max_user_namespaces=15000", err, errdefs.ErrUnavailable)
		}
	}
	return err
}

// lines are a mapping as user_namespaces(7) has it.
func lines(m []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, r := range m {
		fmt.Fprintln(&b, r.ContainerID, r.HostID, r.Size)
	}
	return b.String()
}

// are tells whether a mount is mapped as the container's users are.
func (u *users) are(m specs.Mount) bool {
	return u != nil && reflect.DeepEqual(m.UIDMappings, u.uids) && reflect.DeepEqual(m.GIDMappings, u.gids)
}

// uid and gid are those of a user and a group on the host. One that is not mapped is
// the host's of that number, which has nothing of the container's.
func (u *users) uid(id uint32) uint32 { return u.onHost(id, false) }
func (u *users) gid(id uint32) uint32 { return u.onHost(id, true) }

func (u *users) onHost(id uint32, group bool) uint32 {
	if u == nil {
		return id
	}
	m := u.uids
	if group {
		m = u.gids
	}
	for _, r := range m {
		if id >= r.ContainerID && id-r.ContainerID < r.Size {
			return r.HostID + (id - r.ContainerID)
		}
	}
	return id
}

// layer opens a layer of an image's, with the container's users.
func (u *users) layer(dir string) (fd int, err error) {
	fd, err = unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, &os.PathError{Op: "open layer", Path: dir, Err: err}
	}
	if err := u.shift(fd, false); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("layer %s: %w", dir, err)
	}
	return fd, nil
}

// cloneOverlay makes an overlay of such layers for kernels that take only layers which
// are mounted somewhere: in a directory.
func (u *users) cloneOverlay(m mount.Mount, dir string) (fd int, err error) {
	at, err := os.MkdirTemp(dir, "overlay-")
	if err != nil {
		return -1, err
	}
	defer os.Remove(at)
	m.Options = append(slices.Clone(m.Options), "uidmap="+words(u.uids), "gidmap="+words(u.gids))
	if err := mount.All([]mount.Mount{m}, at); err != nil {
		return -1, err
	}
	fd, err = unix.OpenTree(unix.AT_FDCWD, at, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if uerr := mount.UnmountAll(at, unix.MNT_DETACH); err == nil && uerr != nil {
		unix.Close(fd)
		err = uerr
	}
	return fd, err
}

// words are a mapping as containerd's mounts have it.
func words(m []specs.LinuxIDMapping) string {
	var all []string
	for _, r := range m {
		all = append(all, fmt.Sprintf("%d:%d:%d", r.ContainerID, r.HostID, r.Size))
	}
	return strings.Join(all, ",")
}

// shift gives a copy of a host's mount the container's users.
func (u *users) shift(fd int, recursive bool) error {
	a := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(u.namespace)}
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	switch err := unix.MountSetattr(fd, "", flags, &a); err {
	case nil:
		return nil
	case unix.EINVAL:
		return fmt.Errorf("its file system, or one that is mounted in it, can't show files as those of other users: %w", errdefs.ErrInvalidArgument)
	default:
		return os.NewSyscallError("mount_setattr", err)
	}
}

// join has a script join the namespaces that belong to the users.
func (u *users) join(s *forker.Script) {
	if u == nil {
		return
	}
	for kind, fd := range u.others {
		s.Join(fd, kind)
	}
}

// of are the same users, for a process that is added: of the namespace there is then
// no descriptor but that of a process in it.
func (u *users) of(process int) *users {
	if u == nil {
		return nil
	}
	return &users{uids: u.uids, gids: u.gids, namespace: process}
}

// own are the options of a file system, made by the host, so that what is in it is
// the container's.
func (u *users) own(kind string, o []forker.Option) []forker.Option {
	if u == nil || kind != "tmpfs" && kind != "devpts" {
		return o
	}
	var all []forker.Option
	if kind == "tmpfs" { // what is said later wins
		all = []forker.Option{{Name: "uid", Value: strconv.Itoa(int(u.uid(0)))}, {Name: "gid", Value: strconv.Itoa(int(u.gid(0)))}}
	}
	for _, option := range o {
		if n, err := strconv.ParseUint(option.Value, 10, 32); err == nil {
			switch option.Name {
			case "uid":
				option.Value = strconv.Itoa(int(u.uid(uint32(n))))
			case "gid":
				option.Value = strconv.Itoa(int(u.gid(uint32(n))))
			}
		}
		all = append(all, option)
	}
	return all
}
