// Oci runs containers of bundles by the verbs of the OCI's command line for runtimes,
// as far as hack/validation needs them:
//
//	oci create [--bundle DIR] [--pid-file FILE] ID
//	oci start|state ID
//	oci kill ID [SIGNAL]
//	oci delete [--force] ID
//
// Each container has a detached shim: the installed one, else this very program. Nothing
// of the engine is in between, so what the validation finds is the executor's doing.
// It is no replacement for runc: it knows none of runc's other verbs and flags.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	_ "github.com/ctorhq/ctor/internal/shim/self"
)

// namespace is containerd's, which the shim wants one of.
const namespace = "oci"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oci:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no verb: %w", errdefs.ErrInvalidArgument)
	}
	verb := args[0]
	f := flag.NewFlagSet(verb, flag.ContinueOnError)
	var bundle, pidFile string
	var force bool
	switch verb {
	case "create":
		f.StringVar(&bundle, "bundle", ".", "directory of config.json")
		f.StringVar(&pidFile, "pid-file", "", "file for the first process's pid")
	case "delete":
		f.BoolVar(&force, "force", false, "kill what runs of it")
	}
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	id, rest := f.Arg(0), f.Args()
	if len(rest) != 1 && (verb != "kill" || len(rest) != 2) {
		return fmt.Errorf("%s: one id is needed: %w", verb, errdefs.ErrInvalidArgument)
	}
	ctx := namespaces.WithNamespace(context.Background(), namespace)
	c, err := at(id)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	switch verb {
	case "create":
		err = c.create(ctx, bundle, pidFile)
	case "start":
		err = c.start(ctx)
	case "state":
		err = c.state(ctx, os.Stdout)
	case "kill":
		err = c.kill(ctx, f.Arg(1))
	case "delete":
		if force {
			err = c.end(ctx)
		}
		if err == nil {
			err = c.delete(ctx)
		}
	default:
		err = fmt.Errorf("no such verb: %w", errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, id, err)
	}
	return nil
}
