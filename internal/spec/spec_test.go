package spec_test

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/spec"
)

func write(t *testing.T, image ocispec.ImageConfig, o spec.Options) (*specs.Spec, error) {
	t.Helper()
	o.ID, o.Files = "x", t.TempDir()
	if o.Hostname == "" {
		o.Hostname = "box"
	}
	return spec.New(namespaces.WithNamespace(t.Context(), "test"), image, o)
}

func TestArgs(t *testing.T) {
	e, c := []string{"e"}, []string{"c"}
	for _, test := range []struct {
		image ocispec.ImageConfig
		o     spec.Options
		want  []string
	}{
		{ocispec.ImageConfig{Cmd: c}, spec.Options{}, c},
		{ocispec.ImageConfig{Entrypoint: e, Cmd: c}, spec.Options{}, []string{"e", "c"}},
		{ocispec.ImageConfig{Entrypoint: e, Cmd: c}, spec.Options{Args: []string{"a"}}, []string{"e", "a"}},
		{ocispec.ImageConfig{Entrypoint: e, Cmd: c}, spec.Options{Args: []string{}}, []string{"e", "c"}},
		{ocispec.ImageConfig{Entrypoint: e, Cmd: c}, spec.Options{Entrypoint: []string{"m"}}, []string{"m"}},
		{ocispec.ImageConfig{Entrypoint: e, Cmd: c}, spec.Options{Entrypoint: []string{"m"}, Args: []string{"a"}}, []string{"m", "a"}},
		{ocispec.ImageConfig{Entrypoint: e, Cmd: c}, spec.Options{Entrypoint: []string{}, Args: []string{"a"}}, []string{"a"}},
		{ocispec.ImageConfig{Entrypoint: e, Cmd: c}, spec.Options{Entrypoint: []string{}}, nil},
		{ocispec.ImageConfig{}, spec.Options{}, nil},
		{ocispec.ImageConfig{Cmd: []string{"a\x00"}}, spec.Options{}, nil},
	} {
		s, err := write(t, test.image, test.o)
		if test.want == nil {
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, test.want, s.Process.Args)
	}
}

func TestEnv(t *testing.T) {
	const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	image := ocispec.ImageConfig{Cmd: []string{"x"}, Env: []string{"A=1", "B=1", "bad", "=bad", "C=\x00"}}
	s, err := write(t, image, spec.Options{Home: "/h", TTY: true, Env: []string{"B=2", "D=", "B=3"}})
	require.NoError(t, err)
	require.Equal(t, []string{path, "HOSTNAME=box", "HOME=/h", "TERM=xterm", "A=1", "D=", "B=3"}, s.Process.Env)
	for _, bad := range []string{"", "A", "=", "=x", "A=\x00"} {
		_, err = write(t, image, spec.Options{Env: []string{bad}})
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, bad)
	}
}

func TestLimits(t *testing.T) {
	image := ocispec.ImageConfig{Cmd: []string{"x"}}
	for _, l := range []spec.Limits{
		{CPUs: -1}, {CPUs: 0.009}, {CPUs: math.NaN()}, {CPUs: math.Inf(1)}, {CPUs: 1e9},
		{Memory: -1}, {Memory: 1}, {Memory: spec.MinMemory - 1}, {Pids: -2},
	} {
		_, err := write(t, image, spec.Options{Limits: l})
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "%+v", l)
	}
	s, err := write(t, image, spec.Options{Cgroup: "/parent/x"})
	require.NoError(t, err)
	require.Nil(t, s.Linux.Resources.CPU)
	require.Nil(t, s.Linux.Resources.Memory)
	require.EqualValues(t, spec.DefaultPids, *s.Linux.Resources.Pids.Limit)
	for cpus, quota := range map[float64]int64{0.01: 1000, 0.07: 7000, 0.29: 29000, 1: 100000, 2.5: 250000} {
		s, err = write(t, image, spec.Options{Limits: spec.Limits{CPUs: cpus, Memory: spec.MinMemory, Pids: -1}})
		require.NoError(t, err)
		require.Equal(t, quota, *s.Linux.Resources.CPU.Quota)
		require.EqualValues(t, spec.MinMemory, *s.Linux.Resources.Memory.Limit)
		require.EqualValues(t, -1, *s.Linux.Resources.Pids.Limit)
	}
}

func TestWalls(t *testing.T) {
	o := spec.Options{ID: "x", Hostname: "box", Files: t.TempDir(), Cgroup: "/parent/x"}
	s, err := spec.New(namespaces.WithNamespace(t.Context(), "test"), ocispec.ImageConfig{Cmd: []string{"x"}, WorkingDir: "../.."}, o)
	require.NoError(t, err)
	require.True(t, s.Process.NoNewPrivileges)
	require.NotNil(t, s.Linux.Seccomp)
	require.Equal(t, specs.ActErrno, s.Linux.Seccomp.DefaultAction)
	require.Equal(t, "/", s.Process.Cwd)
	require.Equal(t, "/parent/x", s.Linux.CgroupsPath)
	require.Subset(t, s.Linux.MaskedPaths, []string{"/proc/kcore", "/proc/keys", "/proc/interrupts", "/sys/firmware"})
	require.Subset(t, s.Linux.ReadonlyPaths, []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"})
	require.Len(t, s.Linux.Namespaces, 6)
	for _, n := range s.Linux.Namespaces {
		require.Empty(t, n.Path)
	}
	for _, m := range s.Mounts {
		require.NotEqual(t, "/run", m.Destination)
	}
	require.NoError(t, spec.WriteNames(o))
	b, err := os.ReadFile(filepath.Join(o.Files, "hostname"))
	require.NoError(t, err)
	require.Equal(t, "box\n", string(b))
}

// The caller's last word may take away what a default goes with.
func TestSettle(t *testing.T) {
	const ports, ping = "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"
	for want, change := range map[string]func(*specs.Linux){
		ports + " " + ping: func(*specs.Linux) {},
		"":                 func(l *specs.Linux) { l.Namespaces = nil },
		ports: func(l *specs.Linux) {
			l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		},
		ping: func(l *specs.Linux) { delete(l.Sysctl, ports) },
		ports + " " + ping + " own": func(l *specs.Linux) {
			l.Namespaces, l.Sysctl[ports], l.Sysctl[ping], l.Sysctl["own"] = nil, "1024", "0 1", "x"
		},
	} {
		s, err := write(t, ocispec.ImageConfig{Cmd: []string{"x"}}, spec.Options{})
		require.NoError(t, err)
		change(s.Linux)
		spec.Settle(s)
		require.Equal(t, want, strings.Join(slices.Sorted(maps.Keys(s.Linux.Sysctl)), " "))
	}
}

// Renew gives what New would give for another command.
func TestRenew(t *testing.T) {
	ctx := namespaces.WithNamespace(t.Context(), "test")
	image := ocispec.ImageConfig{Entrypoint: []string{"entry"}, Cmd: []string{"x"}, Env: []string{"A=1"}}
	one := spec.Options{ID: "x", Files: t.TempDir(), Hostname: "box", Cgroup: "/parent/x", Home: "/root"}
	two := one
	two.Args, two.Env, two.Dir, two.TTY, two.Hostname = []string{"a", "b"}, []string{"A=2", "B=3"}, "sub", true, "other"
	two.User, two.Home = specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{9}}, "/home/x"
	made, err := spec.New(ctx, image, one)
	require.NoError(t, err)
	want, err := spec.New(ctx, image, two)
	require.NoError(t, err)
	have, err := spec.Renew(made, image, two)
	require.NoError(t, err)
	require.Equal(t, want, have)
	require.True(t, spec.SameBeside(made, have))
	again, err := spec.New(ctx, image, one)
	require.NoError(t, err)
	require.Equal(t, again, made, "it is left as it was")
	want.Linux.Resources.Pids.Limit = new(int64)
	require.False(t, spec.SameBeside(made, want))
	two.Env = []string{"="}
	_, err = spec.Renew(made, image, two)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
}
