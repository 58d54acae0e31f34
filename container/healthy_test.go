package container_test

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// checked runs a script in a container whose image has a HEALTHCHECK.
func checked(t *testing.T, healthcheck string, cfg container.Config) *container.Container {
	t.Helper()
	return containertest.Run(t, fixture.Configured(t, containertest.Engine(t), healthcheck), cfg)
}

func TestHealthy(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	for name, check := range map[string]string{
		"cmd":   `{"Healthcheck":{"Test":["CMD","grep","-q","go","/tmp/ready"],"Interval":3600000000000}}`,
		"shell": `{"Healthcheck":{"Test":["CMD-SHELL","test \"$(cat /tmp/ready)\" = go && test \"$MINE\" = yes && test $(id -u) = 1000"]},"User":"app"}`,
		"bash":  `{"Healthcheck":{"Test":["CMD-SHELL","test $0 = bash && cat /tmp/ready"]},"Shell":["sh","-ec","eval \"$1\"","bash"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, detach := range []bool{false, true} {
				cfg := sh("sleep 0.2; echo go > /tmp/ready; sleep 1000")
				cfg.Env, cfg.Ready, cfg.Detach = []string{"MINE=yes"}, container.Healthy(), detach
				c := checked(t, check, cfg)
				found, err := container.Get(t.Context(), c.Engine(), c.ID())
				require.NoError(t, err)
				require.NoError(t, found.WaitReady(t.Context(), container.Healthy()), "again")
			}
		})
	}
}

// Three failures in a row, when Docker would look: then it is over.
func TestUnhealthy(t *testing.T) {
	t.Parallel()
	c := checked(t, `{"Healthcheck":{"Test":["CMD-SHELL","echo x >> /tmp/looks; echo no disk >&2; exit 7"],"Interval":20000000,"Retries":4}}`, sh("sleep 1000"))
	err := cannot(t, c, container.Healthy())
	require.ErrorContains(t, err, "unhealthy, 4 failures in a row: exit code 7: no disk")
	looks, err := c.Command(t.Context(), "grep", "-c", "x", "/tmp/looks").Output()
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(looks)))
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, 4)
	require.ErrorContains(t, cannot(t, c, container.All(container.Healthy(), container.Exec("true"))), "unhealthy")
}

// A check that takes too long has failed, and does not go on.
func TestHealthyTimeout(t *testing.T) {
	t.Parallel()
	c := checked(t, `{"Healthcheck":{"Test":["CMD-SHELL","echo looking; sleep 1234"],"Interval":1000000,"Timeout":50000000,"Retries":1}}`, sh("sleep 1000"))
	require.ErrorContains(t, cannot(t, c, container.Healthy()), "it took more than 50ms")
	out, err := c.Command(t.Context(), "ps").Output()
	require.NoError(t, err)
	require.NotContains(t, string(out), "echo looking")
}

// The end of the container ends its check too, and that is no verdict.
func TestHealthyEnds(t *testing.T) {
	t.Parallel()
	for _, detach := range []bool{false, true} {
		cfg := sh("until [ -e /tmp/looking ]; do sleep 0.01; done; exit 3")
		cfg.Detach = detach
		c := checked(t, `{"Healthcheck":{"Test":["CMD-SHELL","touch /tmp/looking; sleep 1000"],"Interval":1000000,"Retries":1}}`, cfg)
		var exit *container.ExitError
		err := c.WaitReady(t.Context(), container.Healthy())
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 3, exit.Code)
		require.NotContains(t, err.Error(), "unhealthy")
	}
}

func TestHealthyNever(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("an image for each case")
	}
	c := containertest.Run(t, busybox(t), sh("sleep 1000"))
	require.ErrorIs(t, cannot(t, c, container.Healthy()), ctor.ErrInvalid)
	for name, want := range map[string]error{
		`{"Test":["NONE"]}`:                                            ctor.ErrInvalid,
		`{"Test":["EVIL","x"]}`:                                        ctor.ErrInvalid,
		`{"Test":["CMD","true"],"Interval":"1s"}`:                      ctor.ErrInvalid,
		`{"Test":["CMD","curl"]}`:                                      exec.ErrNotFound,
		fmt.Sprintf(`{"Test":["CMD",%q]}`, strings.Repeat("x", 1<<20)): ctor.ErrInvalid,
	} {
		t.Run(fmt.Sprintf("%.20s", name), func(t *testing.T) {
			c := checked(t, `{"Healthcheck":`+name+`}`, sh("sleep 1000"))
			require.ErrorIs(t, cannot(t, c, container.Healthy()), want)
		})
	}
}

// A check that does not count yet is no verdict: ctx ends the wait.
func TestHealthyStarting(t *testing.T) {
	t.Parallel()
	c := checked(t, `{"Healthcheck":{"Test":["CMD-SHELL","echo still starting; exit 1"],"Interval":1000000,"StartPeriod":3600000000000,"StartInterval":1000000,"Retries":1}}`, sh("sleep 1000"))
	ctx, cancel := context.WithCancel(t.Context())
	asked, looked := never()
	go func() { <-looked; cancel() }()
	err := c.WaitReady(ctx, container.All(container.Healthy(), asked))
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, err.Error(), "unhealthy")
}
