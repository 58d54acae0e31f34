// Command containerd-shim-ctor-v2 is the process between an engine, or a
// containerd, and its containers. It runs them in its own process, with runc
// as a library.
//
// It is not for people to run. Build it with -tags seccomp; that needs a C
// compiler and libseccomp's headers.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/native"
	"github.com/ctorhq/ctor/internal/shim/serve"
	"github.com/ctorhq/ctor/internal/shim/stock"
	"github.com/ctorhq/ctor/internal/shim/task"

	"github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2/hook"
	"github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2/libcontainer"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", link.Name, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	kind, err := link.Kind(args)
	if err != nil {
		return err
	}
	if kind != "" {
		return shim(kind)
	}
	if ok, err := stock.Run(args, os.Stdout, describe); ok || err != nil {
		return err
	}
	return errors.New("this is executed by programs that use github.com/ctorhq/ctor, and by containerd")
}

func describe() (task.About, error) {
	about := libcontainer.Describe()
	about.Native = native.Supported()
	return about, nil
}

func shim(kind string) error {
	if err := serve.Settle(kind); err != nil {
		return err
	}
	if err := hook.Seal(); err != nil {
		// Unsealed it works as well, slower.
		fmt.Fprintf(os.Stderr, "%s: %v\n", link.Name, err)
	}
	// Containers' first processes get this from libcontainer, and set it anyway:
	// so their Go runtime need not first make itself ready for more.
	if err := os.Setenv("GOMAXPROCS", "1"); err != nil {
		return err
	}
	executor, err := libcontainer.New("", os.Getenv(link.FiltersEnv))
	if err != nil {
		return err
	}
	return serve.Run(kind, native.New(executor, nil))
}
