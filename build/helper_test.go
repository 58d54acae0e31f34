package build_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container"
)

// helperEnv names the root on which the test binary, as another program, builds
// something that does not end.
const helperEnv = "CTOR_TEST_BUILD_ROOT"

func helper() int {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: os.Getenv(helperEnv)})
	if err != nil {
		fmt.Println("helper:", err)
		return 1
	}
	_, err = build.Build(ctx, e, fstest.MapFS{"Dockerfile": {Data: []byte(
		"FROM ctor.test/busybox:1\n" +
			"RUN --mount=type=secret,id=key --mount=type=cache,target=/c --mount=type=tmpfs,target=/t echo at work; sleep 1000\n")}},
		&build.Options{
			Network: new(container.Network),
			Secrets: map[string][]byte{"key": []byte("secret")},
			Progress: func(p build.Progress) {
				if p.Output != nil {
					fmt.Printf("%s", p.Output)
				}
			},
		})
	fmt.Println("helper:", err)
	return 1
}

// startHelper runs the helper until its build is at work.
func startHelper(t *testing.T, root string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+root)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "at work\n", line)
	return cmd
}
