// Package spec writes the OCI runtime configuration of a container: what the
// image says, what the caller changes of it, and the walls around both. The
// walls are Docker's defaults or stricter: its capabilities, masked and
// read-only paths and seccomp filter, no new privileges, a limit of processes,
// and namespaces of its own for network, processes, mounts, names, IPC and
// cgroups.
package spec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
)

// Options are the caller's wishes. Zero values mean what the image says.
type Options struct {
	ID         string
	Args       []string
	Entrypoint []string // non-nil empty clears the image's
	Env        []string
	Dir        string
	Hostname   string
	TTY        bool
	Mounts     []specs.Mount
	Limits     Limits
	Fixed      Fixed
	User       specs.User // resolved
	Home       string     // of the user
	Cgroup     string     // path of the container's own; "": it has none, nor a default that needs one
	Files      string     // host directory for hosts and hostname
	Security   Security
	Users      Users        // of its own, with Security.UserNS
	ResolvConf string       // what its resolv.conf says; "": what the image has
	Addresses  []netip.Addr // by which others reach it, for its hosts file
	HostNet    bool         // the host's network instead of one of its own; see UseHost

	// ShareNet is where the namespace of a network is that it shares; "" is none.
	ShareNet string

	Stores      []specs.Mount // of certificates, as Trust gives them
	StoreValues []string      // and the variables
}

// SameBeside tells whether two configurations are the same beside the first process and
// the host's name.
func SameBeside(a, b *specs.Spec) bool {
	x, y := *a, *b
	x.Process, y.Process, x.Hostname, y.Hostname = nil, nil, "", ""
	return reflect.DeepEqual(x, y)
}

// Seccomp names the profile that New writes.
const Seccomp = "containerd's default"

// rootPath is where the runtime finds the root file system, in the bundle.
const rootPath = "rootfs"

// New writes the configuration. ctx carries a containerd namespace.
func New(ctx context.Context, image ocispec.ImageConfig, o Options) (*specs.Spec, error) {
	s, err := oci.GenerateSpec(ctx, nil, &containers.Container{ID: o.ID})
	if err != nil {
		return nil, err
	}
	s.Root.Path = rootPath
	if err := o.command(s, image); err != nil {
		return nil, err
	}
	s.Linux.CgroupsPath = o.Cgroup
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	if o.Limits.Pids == 0 && (o.Cgroup == "" || !cgroup.CountsProcesses()) {
		o.Limits.Pids = -1
	}
	if err := o.Limits.apply(s.Linux.Resources); err != nil {
		return nil, err
	}
	if err := o.Fixed.apply(s); err != nil {
		return nil, err
	}
	tmp, err := o.Security.tmp(o.Mounts)
	if err != nil {
		return nil, err
	}
	// Not containerd's tmpfs on /run: images keep things there.
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/run" })
	if o.Cgroup != "" {
		s.Mounts = append(s.Mounts, cgroupMounts()...)
	}
	network(s.Linux, o)
	if err := o.Security.apply(s, o.Users); err != nil {
		return nil, err
	}
	// The caller's come last, so that they win.
	s.Mounts = slices.Concat(s.Mounts, nameMounts(o), o.Stores, tmp, o.Mounts)
	shiftBinds(s)
	return s, nil
}

// Renew gives a configuration that New has made, and nothing has changed since, another
// command and host name: what it gives is what New would give for o, which differs in
// nothing else from what that was made for.
func Renew(s *specs.Spec, image ocispec.ImageConfig, o Options) (*specs.Spec, error) {
	n, p := *s, *s.Process
	n.Process = &p
	return &n, o.command(&n, image)
}

// command writes what of a configuration is the command's: the process, and the name
// that it goes by.
func (o Options) command(s *specs.Spec, image ocispec.ImageConfig) (err error) {
	p := s.Process
	if p.Args, err = args(image, o); err != nil {
		return err
	}
	if p.Env, err = env(image, o); err != nil {
		return err
	}
	if p.Cwd, err = workingDir(image, o); err != nil {
		return err
	}
	p.User, p.Terminal, s.Hostname = o.User, o.TTY, o.Hostname
	return checkStrings(p)
}

// network says in which network the container is.
func network(l *specs.Linux, o Options) {
	isNetwork := func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace }
	switch {
	case o.HostNet:
		l.Namespaces = slices.DeleteFunc(l.Namespaces, isNetwork)
	case o.ShareNet != "":
		l.Namespaces[slices.IndexFunc(l.Namespaces, isNetwork)].Path = o.ShareNet
	default:
		l.Sysctl = maps.Clone(ownNetwork())
	}
}

// Check refuses what no runtime can use, after the caller's last changes to the
// configuration.
func Check(s *specs.Spec) error {
	if s.Process == nil || len(s.Process.Args) == 0 || s.Linux == nil {
		return fmt.Errorf("it leaves no process, no arguments or nothing of Linux: %w", errdefs.ErrInvalidArgument)
	}
	return checkStrings(s.Process)
}

// checkStrings finds what execve(2) would not take.
func checkStrings(p *specs.Process) error {
	total := len(p.Args[0]) + 1 // the file's name is there once more
	for _, a := range slices.Concat(p.Args, p.Env) {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("argument %q holds a zero byte: %w", a, errdefs.ErrInvalidArgument)
		}
		if len(a) >= maxString {
			return fmt.Errorf("an argument or environment variable has %d bytes, and the kernel takes less than %d (%.20q...): %w",
				len(a), maxString, a, errdefs.ErrInvalidArgument)
		}
		total += len(a) + 1 + int(unsafe.Sizeof(uintptr(0)))
	}
	if most := maxStrings(p.Rlimits); total > most {
		return fmt.Errorf("arguments and environment take %d bytes, and the kernel has %d for them, a quarter of the limit of the stack: %w", total, most, errdefs.ErrInvalidArgument)
	}
	return nil
}

// maxString is the kernel's MAX_ARG_STRLEN.
const maxString = 128 << 10

// maxStrings is what execve(2) takes in all, with a pointer for each string:
// bprm_stack_limits of the kernel's fs/exec.c.
func maxStrings(limits []specs.POSIXRlimit) int {
	const least, most = 128 << 10, 6 << 20 // ARG_MAX, and 3/4 of _STK_LIM
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &own); err != nil {
		return most
	}
	stack := own.Cur
	for _, l := range limits {
		if l.Type == "RLIMIT_STACK" {
			stack = l.Soft
		}
	}
	return int(max(least, min(stack/4, most)))
}

// args joins entrypoint and command the way Docker does: a caller's entrypoint
// drops the image's command along with its entrypoint.
func args(image ocispec.ImageConfig, o Options) ([]string, error) {
	entrypoint, cmd := image.Entrypoint, image.Cmd
	if o.Entrypoint != nil {
		entrypoint, cmd = o.Entrypoint, nil
	}
	if len(o.Args) > 0 {
		cmd = o.Args
	}
	all := slices.Concat(entrypoint, cmd)
	if len(all) == 0 || all[0] == "" {
		return nil, fmt.Errorf("the image names no command to run, and Config.Args is empty: %w", errdefs.ErrInvalidArgument)
	}
	return all, nil
}

// workingDir is absolute: a relative one counts from the root.
func workingDir(image ocispec.ImageConfig, o Options) (string, error) {
	dir := o.Dir
	if dir == "" {
		dir = image.WorkingDir
	}
	if strings.ContainsRune(dir, 0) {
		return "", fmt.Errorf("working directory %q holds a zero byte: %w", dir, errdefs.ErrInvalidArgument)
	}
	return path.Join("/", dir), nil
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// env lays the caller's variables over the image's. Of one name the last wins.
func env(image ocispec.ImageConfig, o Options) ([]string, error) {
	all := []string{defaultPath, "HOSTNAME=" + o.Hostname, "HOME=" + o.Home}
	if o.TTY {
		all = append(all, "TERM=xterm")
	}
	all = append(all, o.StoreValues...)
	for _, e := range image.Env {
		if name, _, ok := strings.Cut(e, "="); ok && name != "" && !strings.ContainsRune(e, 0) {
			all = append(all, e)
		}
	}
	for _, e := range o.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.ContainsRune(e, 0) {
			return nil, badVariable(e)
		}
		all = append(all, e)
	}
	return lastOfName(all), nil
}

// lastOfName keeps, of one name, the last and its place, as os/exec does.
func lastOfName(env []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, e := range slices.Backward(env) {
		if name, _, _ := strings.Cut(e, "="); !seen[name] {
			seen[name] = true
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// UseHost gives the container the host's network, and its resolv.conf.
func (o *Options) UseHost() error {
	conf, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	o.HostNet, o.ResolvConf = true, string(conf)
	return nil
}

// A nameFile is one by which a container knows its own name, or where to ask for
// others. An image has none, or those of the machine that built it.
type nameFile struct{ name, text string }

func nameFiles(o Options) []nameFile {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	for _, a := range o.Addresses {
		hosts += a.String() + "\t" + o.Hostname + "\n"
	}
	if o.Hostname != "localhost" && len(o.Addresses) == 0 {
		hosts += "127.0.0.1\t" + o.Hostname + "\n"
	}
	files := []nameFile{{"hosts", hosts}, {"hostname", o.Hostname + "\n"}}
	if o.ResolvConf != "" {
		files = append(files, nameFile{"resolv.conf", o.ResolvConf})
	}
	return files
}

func nameMounts(o Options) (mounts []specs.Mount) {
	access := "rw"
	if o.Security.ReadOnly {
		access = "ro"
	}
	for _, f := range nameFiles(o) {
		mounts = append(mounts, specs.Mount{
			Type: "bind", Source: filepath.Join(o.Files, f.name), Destination: "/etc/" + f.name,
			Options: []string{"bind", "rprivate", access},
		})
	}
	return mounts
}

// WriteNames writes the files by which the container knows names, for New's mounts. In a
// container that is made they are others at once: the same files have another text.
func WriteNames(o Options) error {
	for _, f := range nameFiles(o) {
		if err := writeReadable(filepath.Join(o.Files, f.name), []byte(f.text)); err != nil {
			return err
		}
	}
	return nil
}
