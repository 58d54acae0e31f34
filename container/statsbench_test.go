package container_test

import (
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
)

func BenchmarkStats(b *testing.B) {
	c := start(b, busybox(b), sh("echo ready; sleep 1000"))
	for b.Loop() {
		_, err := c.Stats(b.Context())
		require.NoError(b, err)
	}
}

// What it costs to watch 200 containers, a look at each every second: the part of one
// CPU that the program, with its shim's answers, spends on it.
func BenchmarkStatsEvery(b *testing.B) {
	const containers, seconds = 200, 10
	img := busybox(b)
	var all []*container.Container
	for range containers {
		all = append(all, start(b, img, sh("echo ready; sleep 1000")))
	}
	runtime.GC()
	for b.Loop() {
		var first, looks sync.WaitGroup
		first.Add(len(all))
		for _, c := range all {
			looks.Go(func() {
				left := seconds
				for _, err := range c.StatsEvery(b.Context(), time.Second) {
					if err != nil {
						b.Error(err)
					}
					if left == seconds {
						first.Done()
					}
					if left--; left < 0 {
						return
					}
				}
			})
		}
		first.Wait()
		before, began := cpuTime(b), time.Now()
		looks.Wait()
		b.ReportMetric(100*float64(cpuTime(b)-before)/float64(time.Since(began)), "%CPU")
	}
}

// cpuTime is what this process has used.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
