package stock_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ctorhq/ctor/internal/shim/command"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/serve"
	"github.com/ctorhq/ctor/internal/shim/stock"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// The test binary is the shim as well, where it is called by the shim's name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != link.Name {
		os.Exit(m.Run())
	}
	handled, err := stock.Run(os.Args[1:], os.Stdout, func() (task.About, error) {
		return command.Describe(context.Background(), "runc")
	})
	if !handled && err == nil {
		err = serve.Run(os.Args[1], command.New("runc"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
