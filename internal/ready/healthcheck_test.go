package ready

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHealthcheckOf(t *testing.T) {
	t.Parallel()
	plain := Healthcheck{
		Args: []string{"true"}, Interval: 30 * time.Second, Timeout: 30 * time.Second,
		StartInterval: 5 * time.Second, Retries: 3,
	}
	with := func(change func(*Healthcheck)) *Healthcheck {
		h := plain
		change(&h)
		return &h
	}
	for config, want := range map[string]*Healthcheck{
		`"Healthcheck":{"Test":["CMD","true"]}`:      &plain,
		`"healthcheck":{"test":["CMD","true"]}`:      &plain,
		`"Healthcheck":{"Test":["CMD-SHELL","a b"]}`: with(func(h *Healthcheck) { h.Args = []string{"/bin/sh", "-c", "a b"} }),
		`"Shell":["bash","-ec"],"Healthcheck":{"Test":["CMD-SHELL","a b"]}`: with(func(h *Healthcheck) {
			h.Args = []string{"bash", "-ec", "a b"}
		}),
		`"Healthcheck":{"Test":["CMD","true"],"Interval":1000000000,"Timeout":2000000000,"StartPeriod":3000000000,"StartInterval":4000000000,"Retries":5}`: with(func(h *Healthcheck) {
			h.Interval, h.Timeout, h.StartPeriod, h.StartInterval, h.Retries = time.Second, 2*time.Second, 3*time.Second, 4*time.Second, 5
		}),
		`"Healthcheck":{"Test":["CMD","true"],"Interval":-1,"Timeout":-1,"StartPeriod":-1,"StartInterval":-1,"Retries":-1}`: &plain,
		`"Healthcheck":{"Test":["CMD","true"],"Interval":1,"StartInterval":1,"Timeout":1}`: with(func(h *Healthcheck) {
			h.Interval, h.StartInterval, h.Timeout = leastIntervalOfImage, leastIntervalOfImage, leastInterval
		}),
		`"Healthcheck":{"Test":["CMD","true"],"Interval":9223372036854775807,"StartPeriod":9223372036854775807}`: with(func(h *Healthcheck) {
			h.Interval, h.StartPeriod = math.MaxInt64, math.MaxInt64
		}),
	} {
		h, err := healthcheckOf([]byte(`{"config":{` + config + `}}`))
		require.NoError(t, err, config)
		require.Equal(t, want, h, config)
	}
	for config, want := range map[string]string{
		`{}`:                                                     "no HEALTHCHECK",
		`{"config":null}`:                                        "no HEALTHCHECK",
		`"Healthcheck":null`:                                     "no HEALTHCHECK",
		`"Healthcheck":{}`:                                       "no HEALTHCHECK",
		`"Healthcheck":{"Test":[]}`:                              "no HEALTHCHECK",
		`"Healthcheck":{"Test":[""]}`:                            "no HEALTHCHECK",
		`"Healthcheck":{"Test":["NONE"]}`:                        "no HEALTHCHECK",
		`"Healthcheck":{"Test":["CMD"]}`:                         "names no command",
		`"Healthcheck":{"Test":["CMD-SHELL",""]}`:                "names no command",
		`"Healthcheck":{"Test":["EVIL","rm","-rf"]}`:             `unknown kind, "EVIL"`,
		`"Healthcheck":{"Test":"true"}`:                          "can't be read",
		`"Healthcheck":{"Test":["CMD","true"],"Interval":"30s"}`: "can't be read",
		`"Healthcheck":{"Test":["CMD","true"],"Interval":1e30}`:  "can't be read",
		`"Healthcheck":{"Test":["CMD","true"],"Retries":99999999999999999999}`:             "can't be read",
		fmt.Sprintf(`"Healthcheck":{"Test":["CMD-SHELL",%q]}`, strings.Repeat("x", 1<<20)): "has 1048587 bytes, more than 131072",
	} {
		if !strings.HasPrefix(config, "{") {
			config = `{"config":{` + config + `}}`
		}
		_, err := healthcheckOf([]byte(config))
		require.ErrorContains(t, err, want, "%.100s", config)
	}
}

// What counts, and when Docker would look.
func TestFailuresThatCount(t *testing.T) {
	t.Parallel()
	started := time.Now().Add(-time.Hour)
	p := patient{Healthcheck: &Healthcheck{Interval: time.Minute, StartPeriod: 20 * time.Minute, StartInterval: time.Second}, started: started}
	require.Equal(t, time.Second, p.interval(started))
	require.Equal(t, time.Second, p.interval(started.Add(19*time.Minute)))
	require.Equal(t, 500*time.Millisecond, p.interval(started.Add(20*time.Minute-500*time.Millisecond)), "right after the start period")
	require.Equal(t, time.Minute, p.interval(started.Add(20*time.Minute)))

	p.due = started.Add(time.Second)
	p.failed(started)
	require.Equal(t, started.Add(time.Second), p.due, "a look of our own")
	p.failed(started.Add(2 * time.Second))
	require.Zero(t, p.failures, "in the start period")
	require.WithinDuration(t, time.Now().Add(time.Minute), p.due, 30*time.Second)
	p.due = started.Add(30 * time.Minute)
	p.failed(started.Add(31 * time.Minute))
	require.Equal(t, 1, p.failures)
	p.started = time.Time{}
	p.failed(time.Now().Add(time.Hour))
	require.Equal(t, 1, p.failures, "it does not run")
}
