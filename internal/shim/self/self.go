// Package self makes of every program that imports it a shim: executed again
// under the shim's name, it is caught here, before its main. So a program
// needs no second file to run containers, and no line in its main.
package self

import (
	"fmt"

	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/shim/command"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/native"
	"github.com/ctorhq/ctor/internal/shim/serve"
)

func init() {
	reexec.Role{
		Name:  link.Role,
		Trust: func() error { return reexec.SameProgram(link.Tasks) },
		Run:   run,
	}.Hook()
}

func run(args []string) error {
	kind, err := link.Kind(args)
	if err != nil {
		return err
	}
	if kind == "" {
		return fmt.Errorf("there is no shim of kind %q", args)
	}
	if err := serve.Settle(kind); err != nil {
		return err
	}
	binary, err := host.Runtime()
	if err != nil { // what needs no command runs all the same
		return serve.Run(kind, native.New(nil, err))
	}
	return serve.Run(kind, native.New(command.New(binary), nil))
}
