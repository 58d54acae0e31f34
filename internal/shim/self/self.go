// Package self makes of every program that imports it a shim: executed again
// under the shim's name, it is caught here, before its main. So a program
// needs no second file to run containers, and no line in its main.
package self

import (
	"fmt"
	"os"

	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/shim/command"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/serve"
)

func init() {
	if os.Args[0] != link.Name {
		return
	}
	kind, err := link.Kind(os.Args[1:])
	if kind == "" && err == nil {
		return
	}
	if err == nil {
		err = run(kind)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", link.Name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(kind string) error {
	binary, err := host.Runtime()
	if err != nil {
		return err
	}
	return serve.Run(kind, command.New(binary))
}
