package whole

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// helpLacking runs a container on a host that lacks something, and tells what
// came of it.
func helpLacking(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	defer e.Close()
	img, err := image.Get(ctx, e, args[1])
	if err != nil {
		return err
	}
	c, err := img.Run(ctx, container.Config{Args: []string{"true"}})
	switch {
	case err == nil:
		fmt.Println("it runs")
		return c.Close()
	case errors.Is(err, ctor.ErrUnavailable):
		fmt.Println("unavailable:", err)
		return nil
	}
	return err
}

// Where the host keeps containers from running the error says what it is, also
// what only the shim has met, and the command that mends it.
func TestLacking(t *testing.T) {
	t.Parallel()
	const jail = `for d in /*; do
		if [ -L $d ]; then cp -a $d $JAIL; elif [ -d $d ]; then mkdir -p $JAIL$d && mount --rbind $d $JAIL$d; fi
	done; exec chroot $JAIL "$0" "$@"`
	for name, test := range map[string]struct{ prelude, says string }{
		"a chroot into a plain directory": {jail, "mount --rbind DIR DIR before chroot DIR"},
		"a chroot into a mount":           {`mount --rbind $JAIL $JAIL; ` + jail, "it runs"},
		"a read-only /proc":               {`mount -o remount,bind,ro /proc; exec "$0" "$@"`, "it runs"},
		"a capability":                    {`exec setpriv --bounding-set=-mknod "$0" "$@"`, "CAP_MKNOD"},
		"an empty PATH":                   {`PATH= exec "$0" "$@"`, "it runs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("runc"); err != nil {
				t.Skip(err)
			}
			e := fixture.Engine(t, ctor.Config{})
			require.Equal(t, "hi\n", fixture.Echo(t, e, "c", "hi"))
			require.NoError(t, e.Close())
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := fixture.Program("lacking")
			cmd.Path, err = exec.LookPath("unshare")
			require.NoError(t, err)
			cmd.Args = []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", test.prelude, self, e.Root(), "ctor.test/busybox:1"}
			cmd.Env = append(cmd.Env, "JAIL="+t.TempDir())
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			require.NoError(t, cmd.Run(), "%s", &out)
			require.Contains(t, out.String(), test.says)
		})
	}
}
