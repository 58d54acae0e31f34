//go:build seccomp

package seccomp

// #cgo pkg-config: libseccomp
// #cgo LDFLAGS: -Wl,--wrap=seccomp_syscall_resolve_name -Wl,--wrap=seccomp_export_bpf
// #include "ready.h"
import "C"

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"
	runc "github.com/opencontainers/runc/libcontainer/seccomp"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/reexec"
)

// Hook is for an init function: executed again by this package, the program is a
// compiler of the profile on its standard input.
func Hook() {
	reexec.Role{
		Name:  role,
		Trust: func() error { return reexec.OwnPipes(0) },
		Run:   func([]string) error { return compileTo(os.Stdout, os.Stdin) },
	}.Hook()
}

const role = "compile-seccomp"

// filter is a compiled profile.
type filter struct {
	Program []byte   // as libseccomp exports it
	Highest []string // the highest syscalls that the profile names
}

// compile has this program, executed again, compile a profile in JSON. Not in
// this process: should libcontainer ever load what it was only asked to
// compile, that must not hit the shim.
func compile(ctx context.Context, profile []byte) (*filter, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, reexec.Self)
	cmd.Args = reexec.Args("compiler", role)
	cmd.Env = []string{}
	cmd.Stdin = bytes.NewReader(profile)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("compile seccomp profile: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	var f filter
	if err := json.Unmarshal(out, &f); err != nil {
		return nil, fmt.Errorf("compile seccomp profile: %w", err)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("compile seccomp profile: %w", err)
	}
	return &f, nil
}

// check finds what can't be a program.
func (f *filter) check() error {
	if n := len(f.Program); n == 0 || n%8 != 0 {
		return fmt.Errorf("a program of %d bytes", n)
	}
	return nil
}

func compileTo(w io.Writer, r io.Reader) error {
	var p configs.Seccomp
	if err := json.NewDecoder(r).Decode(&p); err != nil {
		return err
	}
	program, err := record(&p)
	if err != nil {
		return err
	}
	f := filter{Program: program}
	if f.Highest, err = highest(&p); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(f)
}

// record lets libcontainer itself prepare the filter, up to where it asks for
// the program.
func record(p *configs.Seccomp) ([]byte, error) {
	fd, err := unix.MemfdCreate("seccomp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "seccomp")
	defer f.Close()
	C.ctor_record(C.int(fd))
	_, err = runc.InitSeccomp(p)
	switch result := C.ctor_recorded(); {
	case err == nil:
		return nil, errors.New("the filter was loaded") // into this process alone
	case result > 0:
		return nil, err
	case result < 0:
		return nil, fmt.Errorf("export filter: %w", unix.Errno(-result))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// highest names the syscalls of p with the highest number, one for each
// architecture, as far as they differ.
func highest(p *configs.Seccomp) ([]string, error) {
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		return nil, err
	}
	archs := []libseccomp.ScmpArch{native}
	for _, name := range p.Architectures {
		arch, err := libseccomp.GetArchFromString(name)
		if err != nil {
			return nil, err
		}
		archs = append(archs, arch)
	}
	var names []string
	seen := map[string]bool{}
	for _, arch := range archs {
		var name string
		var top libseccomp.ScmpSyscall
		for _, s := range p.Syscalls {
			n, err := libseccomp.GetSyscallFromNameByArch(s.Name, arch)
			if err == nil && n > top {
				name, top = s.Name, n
			}
		}
		if name != "" && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}
