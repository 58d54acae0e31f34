package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// apartEnv marks a bench that has its mount namespace.
const apartEnv = "CTOR_BENCH_APART"

// apart puts the program into a mount namespace of its own, by executing it
// again: a Go program has many threads, and unshare moves one. Every mount of
// every peer is made in there and is gone with the last process, even if the
// bench is killed.
func apart() error {
	if os.Getenv(apartEnv) != "" {
		return os.Unsetenv(apartEnv)
	}
	if os.Geteuid() != 0 {
		return errors.New("containers need root: run it as root")
	}
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), apartEnv+"=1"))
}
