package shim

import (
	"fmt"
	"os"
)

// A program that imports ctor is its own shim: no line in its main, no second
// file to install. The check is on argv[0], which Attach and Detach set.
func init() {
	if os.Args[0] != Name || len(os.Args) != 3 {
		return
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Name, err)
		os.Exit(1)
	}
	os.Exit(0)
}
