package container_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
)

// The whole life of a container that does nothing.
func BenchmarkLife(b *testing.B) {
	img := busybox(b)
	for b.Loop() {
		c, err := img.New(b.Context(), container.Config{Args: []string{"true"}})
		require.NoError(b, err)
		require.NoError(b, c.Start(b.Context()))
		require.NoError(b, c.Wait(b.Context()))
		require.NoError(b, c.Close())
	}
}

// The same behind the strictest walls: with users of its own, over mapped layers.
func BenchmarkHardenedLife(b *testing.B) {
	img := busybox(b)
	for b.Loop() {
		c, err := img.New(b.Context(), container.Config{Args: []string{"true"}, Security: container.Hardened()})
		require.NoError(b, err)
		require.NoError(b, c.Start(b.Context()))
		require.NoError(b, c.Wait(b.Context()))
		require.NoError(b, c.Close())
	}
}

// The whole life of a container that a pool had ready but for its command.
func BenchmarkClaim(b *testing.B) {
	p := warm(b, busybox(b), 4, container.Config{})
	for b.Loop() {
		c, err := p.Claim(b.Context(), container.Claim{Args: []string{"true"}})
		require.NoError(b, err)
		require.NoError(b, c.Start(b.Context()))
		require.NoError(b, c.Wait(b.Context()))
		require.NoError(b, c.Close())
	}
}

// Start alone, of a container that was made before.
func BenchmarkStart(b *testing.B) {
	img := busybox(b)
	for b.Loop() {
		b.StopTimer()
		c, err := img.New(b.Context(), container.Config{Args: []string{"true"}})
		require.NoError(b, err)
		b.StartTimer()
		require.NoError(b, c.Start(b.Context()))
		b.StopTimer()
		require.NoError(b, c.Close())
		b.StartTimer()
	}
}

// A command in a container that runs, with output and exit code.
func BenchmarkExec(b *testing.B) {
	c := idle(b)
	for b.Loop() {
		_, err := c.Command(b.Context(), "true").CombinedOutput()
		require.NoError(b, err)
	}
}

// The same in a container of its own.
func BenchmarkImageCommand(b *testing.B) {
	img := busybox(b)
	for b.Loop() {
		_, err := img.Command(b.Context(), "true").CombinedOutput()
		require.NoError(b, err)
	}
}

// Output from the container to a writer and the log.
func BenchmarkOutput(b *testing.B) {
	const size = 64 << 20
	img := busybox(b)
	b.SetBytes(size)
	for b.Loop() {
		cfg := sh("head -c 67108864 /dev/zero")
		out := new(counter)
		cfg.Stdout = out
		c, err := img.Run(b.Context(), cfg)
		require.NoError(b, err)
		require.NoError(b, c.Wait(b.Context()))
		require.EqualValues(b, size, *out)
		require.NoError(b, c.Close())
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// The next lives of a container that has ended, beside whole lives of new ones, ten of
// each in a row, by turns. ratio is that of the medians.
func BenchmarkStartAgain(b *testing.B) {
	for _, kind := range []string{"attached", "kept", "detached"} {
		b.Run(kind, func(b *testing.B) {
			ctx, img := b.Context(), busybox(b)
			cfg := kinds[kind](container.Config{Args: []string{"true"}})
			old, err := img.Run(ctx, cfg)
			require.NoError(b, err)
			defer func() { require.NoError(b, old.Remove(context.WithoutCancel(ctx))) }()
			require.NoError(b, old.Wait(ctx))
			var next, whole []time.Duration
			for b.Loop() {
				for range 10 {
					began := time.Now()
					require.NoError(b, old.Start(ctx))
					require.NoError(b, old.Wait(ctx))
					next = append(next, time.Since(began))
				}
				for range 10 {
					began := time.Now()
					c, err := img.Run(ctx, cfg)
					require.NoError(b, err)
					require.NoError(b, c.Wait(ctx))
					require.NoError(b, c.Remove(ctx))
					whole = append(whole, time.Since(began))
				}
			}
			b.ReportMetric(median(next).Seconds()*1e3, "ms/next")
			b.ReportMetric(median(whole).Seconds()*1e3, "ms/new")
			b.ReportMetric(float64(median(next))/float64(median(whole)), "ratio")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
