package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/userns"
)

// run runs a command in new namespaces, and waits for its end.
func run(command []string, m userns.Map) (*os.ProcessState, error) {
	runtime.LockOSThread() // the death signal tells of the end of the thread that has forked
	lifeline, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	child := &exec.Cmd{
		Path: reexec.Self, Args: reexec.Args("ctor-userns", waiting, command...),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		ExtraFiles: []*os.File{lifeline},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL,
		},
	}
	err = child.Start()
	lifeline.Close()
	if err != nil {
		return nil, host.ExplainUserNS(err)
	}
	if err := admit(child.Process.Pid, m, ours); err != nil {
		_ = child.Process.Kill()
		_ = child.Wait()
		return nil, err
	}
	go forward(signals, child.Process)
	if err := child.Wait(); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			return nil, err
		}
	}
	return child.ProcessState, nil
}

// admit makes the process that waits in the namespace root there, and lets it go on.
func admit(pid int, m userns.Map, lifeline *os.File) error {
	how := write
	if !m.Single() {
		how = mapByCommand
	}
	if err := how(pid, m); err != nil {
		return err
	}
	// This process is in the cgroup that the other one is to divide.
	if err := leave(); err != nil {
		return err
	}
	_, err := lifeline.Write([]byte{0})
	return err
}

// write maps one user and one group, which anybody may do: in a namespace whose
// processes can't leave their groups, since a group may be what keeps them from a file.
func write(pid int, m userns.Map) error {
	for _, f := range []struct{ name, text string }{
		{"setgroups", "deny"}, {"uid_map", lines(m.Users)}, {"gid_map", lines(m.Groups)},
	} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, f.name), []byte(f.text), 0); err != nil {
			return host.ExplainUserNS(err)
		}
	}
	return nil
}

func lines(all []userns.Range) (text string) {
	for _, r := range all {
		text += fmt.Sprintln(r.Inside, r.Outside, r.Size)
	}
	return text
}

// mapByCommand has the commands map that may map what is set aside for the user.
func mapByCommand(pid int, m userns.Map) error {
	for _, c := range []struct {
		name   string
		ranges []userns.Range
	}{{"newuidmap", m.Users}, {"newgidmap", m.Groups}} {
		args := []string{strconv.Itoa(pid)}
		for _, r := range c.ranges {
			for _, n := range []uint32{r.Inside, r.Outside, r.Size} {
				args = append(args, strconv.FormatUint(uint64(n), 10))
			}
		}
		if out, err := exec.Command(c.name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w: %s (%w): ctor-userns -single does without it", c.name, args, err, out, errdefs.ErrUnavailable)
		}
	}
	return nil
}

// forward hands on signals. What ^C sends, each process of a terminal's foreground
// gets by itself.
func forward(signals <-chan os.Signal, to *os.Process) {
	for s := range signals {
		if s != unix.SIGINT || !inForeground() {
			_ = to.Signal(s)
		}
	}
}

func inForeground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
