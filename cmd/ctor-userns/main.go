// Command ctor-userns runs a command as root of a new user namespace, and of a new
// mount namespace: a program that has containers, or its tests, needs no root on the
// host then.
//
//	ctor-userns [-single] COMMAND [ARGUMENT]...
//	go test -exec ctor-userns ./...
//
// In the namespace the user who calls is root. Users and groups from 1 on are those
// that /etc/subuid and /etc/subgid have set aside for that user, where newuidmap and
// newgidmap can map them (Debian's package uidmap). Where not, or with -single, root
// is alone.
//
// On a host with cgroup v2, where the cgroup that it is started in is the user's, the
// command sees that as the root of all cgroups, and can bound what it runs. systemd
// gives such a cgroup:
//
//	systemd-run --user --scope -p Delegate=yes ctor-userns COMMAND
//
// The command ends with ctor-userns, also when that is killed, and gets its signals.
// The exit code is the command's, or 128 and the number of the signal that ended it;
// 125 is that ctor-userns failed, and 127 that there is no such command.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/userns"
)

const (
	failed   = 125
	notFound = 127
)

func main() {
	var err error
	code := failed
	switch role, args := roleOf(os.Args); role {
	case waiting:
		err = wait()
	case entering:
		err = enter(args)
	default:
		code, err = start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ctor-userns:", err)
		if errors.Is(err, exec.ErrNotFound) {
			code = notFound
		}
	}
	os.Exit(code)
}

// The roles of the process in the namespace, which begins as this program. It waits
// until it is root there, and has the rights of one when it is executed again.
const (
	waiting  = "userns-wait"
	entering = "userns-enter"
)

func roleOf(args []string) (role string, rest []string) {
	for _, role := range []string{waiting, entering} {
		if len(args) > 1 && args[1] == reexec.Mark(role) {
			return role, args[2:]
		}
	}
	return "", nil
}

func start() (int, error) {
	flags := flag.NewFlagSet("ctor-userns", flag.ExitOnError)
	flags.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: ctor-userns [-single] COMMAND [ARGUMENT]...")
		flags.PrintDefaults()
	}
	single := flags.Bool("single", false, "have no users but root in the namespace")
	_ = flags.Parse(os.Args[1:])
	if flags.NArg() == 0 {
		flags.Usage()
		return failed, nil
	}
	if err := reexec.NotPrivileged(); err != nil {
		return failed, err
	}
	state, err := run(flags.Args(), mapping(*single))
	if err != nil {
		return failed, err
	}
	status, _ := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return state.ExitCode(), nil
}

func mapping(single bool) userns.Map {
	if single {
		return host.Alone()
	}
	m, why := host.Mapping()
	if why != nil {
		fmt.Fprintln(os.Stderr, "ctor-userns: root is the only user:", why)
	}
	return m
}
