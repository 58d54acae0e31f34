package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/userns"
)

// Mapping is who there can be in a new user namespace that this user makes: this
// user, as root, and after that the users and groups which the system has set aside
// for it (subuid(5)). Where there are none, or nothing that maps them, this user is
// alone, and why says what lacks.
func Mapping() (m userns.Map, why error) {
	s := subject{uid: os.Getuid(), gid: os.Getgid(), look: exec.LookPath}
	if u, err := user.LookupId(strconv.Itoa(s.uid)); err == nil {
		s.name = u.Username
	}
	return s.mapping(os.DirFS("/"))
}

// Alone is the mapping of which nothing needs to be installed or set aside.
func Alone() userns.Map { return subject{uid: os.Getuid(), gid: os.Getgid()}.alone() }

// subject is a user who makes a user namespace.
type subject struct {
	name     string // "": unknown
	uid, gid int
	look     func(program string) (string, error)
}

func (s subject) alone() userns.Map {
	return userns.Map{
		Users:  []userns.Range{{Inside: 0, Outside: uint32(s.uid), Size: 1}},
		Groups: []userns.Range{{Inside: 0, Outside: uint32(s.gid), Size: 1}},
	}
}

func (s subject) mapping(root fs.FS) (userns.Map, error) {
	for _, program := range []string{"newuidmap", "newgidmap"} {
		if _, err := s.look(program); err != nil {
			cure := Provide(program)
			if strings.HasPrefix(cure, "apt-get") {
				cure = "apt-get install uidmap"
			}
			return s.alone(), fmt.Errorf("there is no %s to map other users with (%w): %s", program, errdefs.ErrUnavailable, cure)
		}
	}
	m := s.alone()
	m.Users = append(m.Users, s.subordinates(root, "etc/subuid")...)
	m.Groups = append(m.Groups, s.subordinates(root, "etc/subgid")...)
	if len(m.Users) == 1 || len(m.Groups) == 1 {
		return s.alone(), fmt.Errorf("no users or groups are set aside for user %d, in /etc/subuid and /etc/subgid (%w): "+
			"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s", s.uid, errdefs.ErrUnavailable, s.known())
	}
	m.Setgroups = true
	return m, nil
}

func (s subject) known() string {
	if s.name == "" {
		return strconv.Itoa(s.uid)
	}
	return s.name
}

// subordinates are the ranges that a file has for the user, by name or by number. In
// the namespace they follow each other, from 1 on.
func (s subject) subordinates(root fs.FS, file string) (all []userns.Range) {
	b, _ := fs.ReadFile(root, file)
	next := uint32(1)
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != strconv.Itoa(s.uid) && (s.name == "" || f[0] != s.name) {
			continue
		}
		from, err1 := strconv.ParseUint(f[1], 10, 32)
		size, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 == nil && err2 == nil && size > 0 {
			all = append(all, userns.Range{Inside: next, Outside: uint32(from), Size: uint32(size)})
			next += uint32(size)
		}
	}
	return all
}

// ExplainUserNS gives an error that came of making a user namespace, or of what only
// its root may do, the reason that this host has, and the command that mends it.
func ExplainUserNS(err error) error { return explainUserNS(os.DirFS("/"), os.Geteuid(), err) }

func explainUserNS(root fs.FS, uid int, err error) error {
	why := forbidsUserNS(root, uid)
	switch {
	case why != "":
	case errors.Is(err, unix.ENOSPC):
		why = "there are as many as there may be: sysctl -w user.max_user_namespaces=15000"
	case errors.Is(err, unix.EPERM):
		why = "what forbids it may be the seccomp profile of a container: start that with --security-opt seccomp=unconfined"
	default:
		return fmt.Errorf("user namespace: %w", err)
	}
	what, command, _ := strings.Cut(why, ": ")
	return fmt.Errorf("user namespace: %w: %s (%w): %s", err, what, errdefs.ErrUnavailable, command)
}

// forbidsUserNS says what keeps a user of this host from making user namespaces, or
// from being root in them; "" is that nothing is known.
func forbidsUserNS(root fs.FS, uid int) string {
	set := func(name, value string) bool {
		w := words(root, "proc/sys/"+name)
		return len(w) == 1 && w[0] == value
	}
	switch {
	case !has(root, "proc/thread-self/ns/user"):
		return "the kernel has none: boot one that was built with CONFIG_USER_NS"
	case set("user/max_user_namespaces", "0"):
		return "the host has none to give: sysctl -w user.max_user_namespaces=15000"
	case uid != 0 && set("kernel/unprivileged_userns_clone", "0"):
		return "the host gives them to root alone: sysctl -w kernel.unprivileged_userns_clone=1"
	case uid != 0 && set("kernel/apparmor_restrict_unprivileged_userns", "1"):
		return "AppArmor lets no user be root in them: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	}
	return ""
}

// CheckUser says that a user, or a group of that user's, is none of this user namespace.
func CheckUser(u specs.User) error { return checkUser(userns.Own(), u) }

func checkUser(who userns.Map, u specs.User) error {
	const mend = "apt-get install uidmap, and ctor-userns PROGRAM"
	if !who.HasUser(u.UID) {
		return fmt.Errorf("user %d is none of this user namespace (%w): %s", u.UID, errdefs.ErrUnavailable, mend)
	}
	if !who.HasGroup(u.GID) {
		return fmt.Errorf("group %d is none of this user namespace (%w): %s", u.GID, errdefs.ErrUnavailable, mend)
	}
	return nil
}

// CheckEnds says that a container could not be ended as a whole: the kernel ends the
// rest of a pid namespace with its first process, and a cgroup tells who is in it. One
// of the two there has to be.
func CheckEnds(l *specs.Linux) error {
	own := slices.ContainsFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace && n.Path == "" })
	if err := cgroup.Absent(); err != nil && !own {
		return fmt.Errorf("the pid namespace of another container or of the host: %w", err)
	}
	return nil
}

// CheckMapped says that a container's own users are, in this user namespace, none.
func CheckMapped(l *specs.Linux) error { return checkMapped(userns.Own(), l) }

func checkMapped(who userns.Map, l *specs.Linux) error {
	for _, of := range []struct {
		ranges []specs.LinuxIDMapping
		has    func(uint32) bool
	}{{l.UIDMappings, who.HasUser}, {l.GIDMappings, who.HasGroup}} {
		for _, r := range of.ranges {
			if r.Size > 0 && !(of.has(r.HostID) && of.has(r.HostID+r.Size-1)) {
				return fmt.Errorf("users %d to %d, to be a container's own, are none of this user namespace (%w): sudo PROGRAM",
					r.HostID, r.HostID+r.Size-1, errdefs.ErrUnavailable)
			}
		}
	}
	return nil
}
