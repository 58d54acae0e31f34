package libcontainer

import (
	"encoding/json"

	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/shim/task"
)

// BenchmarkLife measures the whole life of a container that runs true, beside
// runc's with the same spec and bwrap's. The three take turns, so that the
// ratios hold on a busy machine; what is reported are medians.
func BenchmarkLife(b *testing.B) {
	d := newDriver(b)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(b, err)
	defer null.Close()
	spec := d.spec("life", "true")
	config, err := json.Marshal(d.runcSpec("true"))
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(filepath.Join(d.dir, "config.json"), config, 0o600))

	var create, start, end, remove, life, runc, bwrap []time.Duration
	lap := func(into *[]time.Duration, since *time.Time) {
		now := time.Now()
		*into = append(*into, now.Sub(*since))
		*since = now
	}
	d.life("warm", "true")
	for b.Loop() {
		begin := time.Now()
		now := begin
		c, p, err := d.exec.Create(b.Context(), d.bundle(spec, "life"), task.Stdio{In: null, Out: null, Err: null})
		require.NoError(b, err)
		lap(&create, &now)
		require.NoError(b, c.Start(b.Context()))
		lap(&start, &now)
		require.Zero(b, wait(b, p.Pid))
		lap(&end, &now)
		require.NoError(b, c.Delete(b.Context()))
		lap(&remove, &now)
		life = append(life, now.Sub(begin))

		run(b, "runc", "--root", filepath.Join(d.dir, "runc"), "run", "--bundle", d.dir, "bench")
		lap(&runc, &now)
		run(b, "bwrap", "--unshare-all", "--bind", d.rootfs, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true")
		lap(&bwrap, &now)
	}
	for name, durations := range map[string][]time.Duration{
		"ms/life": life, "ms/runc": runc, "ms/bwrap": bwrap,
		"ms/create": create, "ms/start": start, "ms/wait": end, "ms/delete": remove,
	} {
		b.ReportMetric(milliseconds(durations), name)
	}
	b.ReportMetric(milliseconds(life)/milliseconds(runc), "×runc")
	b.ReportMetric(milliseconds(life)/milliseconds(bwrap), "×bwrap")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkExec measures true in a running container, beside runc's.
func BenchmarkExec(b *testing.B) {
	d := newDriver(b)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(b, err)
	defer null.Close()
	c, _ := d.running("host")
	root := filepath.Join(d.dir, "runc")
	config, err := json.Marshal(d.runcSpec("sleep", "1000"))
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(filepath.Join(d.dir, "config.json"), config, 0o600))
	run(b, "runc", "--root", root, "run", "--detach", "--bundle", d.dir, "bench")
	defer func() {
		run(b, "runc", "--root", root, "delete", "--force", "bench")
	}()
	p := d.process("true")
	var mine, runc []time.Duration
	for b.Loop() {
		now := time.Now()
		started, err := c.Exec(b.Context(), "e", p, task.Stdio{In: null, Out: null, Err: null})
		require.NoError(b, err)
		require.Zero(b, wait(b, started.Pid))
		mine = append(mine, time.Since(now))
		now = time.Now()
		run(b, "runc", "--root", root, "exec", "bench", "true")
		runc = append(runc, time.Since(now))
	}
	b.ReportMetric(milliseconds(mine), "ms/exec")
	b.ReportMetric(milliseconds(runc), "ms/runc")
	b.ReportMetric(milliseconds(mine)/milliseconds(runc), "×runc")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMany measures lives a second with many at once.
func BenchmarkMany(b *testing.B) {
	d := newDriver(b)
	spec := d.spec("life", "true")
	d.life("warm", "true")
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := strconv.FormatInt(serial.Add(1), 10)
			own := *spec
			linux := *spec.Linux
			linux.CgroupsPath = d.cgroup + "/" + id
			own.Linux = &linux
			c, p, err := d.exec.Create(b.Context(), d.bundle(&own, id), task.Stdio{})
			require.NoError(b, err)
			require.NoError(b, c.Start(b.Context()))
			require.Zero(b, wait(b, p.Pid))
			require.NoError(b, c.Delete(b.Context()))
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lives/s")
}

// runcSpec is the spec, so that Debian's runc finds the root file system.
func (d *driver) runcSpec(args ...string) *specs.Spec {
	spec := d.spec("bench", args...)
	spec.Root.Path = d.rootfs
	return spec
}

func run(b *testing.B, name string, args ...string) {
	b.Helper()
	require.NoError(b, exec.Command(name, args...).Run(), "%s %v", name, args)
}

func milliseconds(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2]) / float64(time.Millisecond)
}
