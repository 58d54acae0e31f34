//go:build !seccomp

package seccomp

import (
	"context"
	"fmt"
	"os"

	"github.com/opencontainers/runc/libcontainer/configs"
)

// Enabled says that the program was built with seccomp.
const Enabled = false

// Compiler is the argument that makes this program a compiler: Main.
const Compiler = "compile-seccomp"

// Cache keeps compiled profiles. This one has none.
type Cache struct{ Dir string }

// Ready returns p, with which libcontainer then fails.
func (c *Cache) Ready(ctx context.Context, p *configs.Seccomp) (*configs.Seccomp, error) {
	return p, ctx.Err()
}

// Main fails.
func Main() {
	fmt.Fprintln(os.Stderr, "built without seccomp")
	os.Exit(1)
}
