package ctor_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// times keeps single measurements: on a machine that others use as well, the
// median says more than the mean.
type times []time.Duration

func (m *times) measure(f func()) {
	begin := time.Now()
	f()
	*m = append(*m, time.Since(begin))
}

func (m times) report(b *testing.B, what string) {
	slices.Sort(m)
	b.ReportMetric(float64(m[len(m)/2].Microseconds())/1000, what+"-median-ms")
}

// The median of open must be less than 30 ms.
func BenchmarkOpen(b *testing.B) {
	var opened, closed times
	for b.Loop() {
		root := b.TempDir()
		var e *ctor.Engine
		opened.measure(func() {
			var err error
			e, err = ctor.Open(context.Background(), ctor.Config{Root: root})
			require.NoError(b, err)
		})
		closed.measure(func() { require.NoError(b, e.Close()) })
	}
	opened.report(b, "open")
	closed.report(b, "close")
}

// BenchmarkOpenWith100Containers opens a root with detached containers in it.
func BenchmarkOpenWith100Containers(b *testing.B) {
	root := b.TempDir()
	e, err := ctor.Open(context.Background(), ctor.Config{Root: root})
	require.NoError(b, err)
	img := fixture.Busybox(b, e)
	for n := range 100 {
		_, err := img.New(context.Background(), container.Config{Name: fmt.Sprint("c", n), Detach: true})
		require.NoError(b, err)
	}
	require.NoError(b, e.Close())
	var opened times
	for b.Loop() {
		opened.measure(func() { e, err = ctor.Open(context.Background(), ctor.Config{Root: root}) })
		require.NoError(b, err)
		require.NoError(b, e.Close())
	}
	opened.report(b, "open")
	e, err = ctor.Open(context.Background(), ctor.Config{Root: root})
	require.NoError(b, err)
	list, err := container.List(context.Background(), e)
	require.NoError(b, err)
	require.Len(b, list, 100)
	for _, c := range list {
		require.NoError(b, c.Close())
	}
	require.NoError(b, e.Close())
}
