package container_test

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/host"
)

// Each of these fails in New, says why in a sentence, and leaves nothing.
func TestBadConfig(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img, err := fixture.Busybox(t, e).Derive(t.Context(), "ctor.test/bad", nil, fixture.Files(map[string]string{
		"bin/text":     "hello\n",
		"bin/empty":    "",
		"bin/noshell":  "#!/bin/bash\necho hello\n",
		"bin/crlf":     "#!/bin/sh\r\n",
		"bin/ofpasswd": "#!/etc/passwd\n",
		"bin/noloader": dynamic,
		"bin/dir/x":    "",
		"opt/tool":     "#!/bin/sh\n",
	}))
	require.NoError(t, err)
	// Not started: what the runtime has of one that has ended goes a little later,
	// and would be missed below.
	taken, err := img.New(t.Context(), container.Config{Name: "taken"})
	require.NoError(t, err)
	defer taken.Close()
	before := fixture.Count(t, e)

	for group, tests := range map[string][]badConfig{
		"command": badCommands, "name": badNames, "user": badUsers, "mount": badMounts, "limit": badLimits, "other": badOthers,
	} {
		for _, test := range tests {
			t.Run(group, func(t *testing.T) {
				_, err := img.New(t.Context(), test.cfg)
				require.ErrorIs(t, err, test.class)
				require.ErrorContains(t, err, test.says)
				require.ErrorContains(t, err, "new container ")
				require.Less(t, len(err.Error()), 500, "a sentence")
				before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
			})
		}
	}
}

type badConfig struct {
	cfg   container.Config
	class error
	says  string
}

var badCommands = []badConfig{
	{container.Config{Args: []string{"nope"}}, ctor.ErrNotFound, `command "nope": the image has none on its PATH /bin`},
	{container.Config{Args: []string{"nope"}}, exec.ErrNotFound, `command "nope"`},
	{container.Config{Args: []string{"/bin/nope"}}, ctor.ErrNotFound, `command "/bin/nope": the image has no /bin/nope`},
	{container.Config{Args: []string{"./nope"}, Dir: "/bin"}, ctor.ErrNotFound, `the image has no /bin/nope`},
	{container.Config{Args: []string{"tool"}, Env: []string{"PATH=:relative:/usr/bin"}}, ctor.ErrNotFound, `the image has none on its PATH`},
	{container.Config{Args: []string{"/bin/dir"}}, ctor.ErrInvalid, `/bin/dir is no file, its mode is d`},
	{container.Config{Args: []string{"/etc/passwd"}}, ctor.ErrInvalid, `/etc/passwd is not executable, its mode is -rw-r--r--`},
	{container.Config{Args: []string{"/etc/passwd/x"}}, ctor.ErrInvalid, `not a directory`},
	{container.Config{Args: []string{"text"}}, ctor.ErrInvalid, `/bin/text is neither a program nor a script that begins with #!`},
	{container.Config{Args: []string{"empty"}}, ctor.ErrInvalid, `neither a program nor a script`},
	{container.Config{Args: []string{"noshell"}}, ctor.ErrNotFound, `/bin/noshell needs /bin/bash, which the image does not have`},
	{container.Config{Args: []string{"crlf"}}, ctor.ErrNotFound, `/bin/crlf needs "/bin/sh\r", since its first line ends with a carriage return`},
	{container.Config{Args: []string{"ofpasswd"}}, ctor.ErrInvalid, `/bin/ofpasswd needs what can't be executed: /etc/passwd is not executable`},
	{container.Config{Args: []string{"noloader"}}, ctor.ErrNotFound, `/bin/noloader needs /lib64/ld-nope.so, which the image does not have`},
	{container.Config{Entrypoint: []string{}, Args: []string{""}}, ctor.ErrInvalid, `the image names no command to run`},
	{container.Config{Entrypoint: []string{}}, ctor.ErrInvalid, `the image names no command to run, and Config.Args is empty`},
	{container.Config{Args: []string{"a\x00b"}}, ctor.ErrInvalid, `zero byte`},
	{container.Config{Args: []string{"echo", strings.Repeat("x", 128<<10)}}, ctor.ErrInvalid, `has 131072 bytes, and the kernel takes less than 131072`},
}

var badNames = []badConfig{
	{container.Config{Name: "taken"}, ctor.ErrAlreadyExists, `new container "taken" of ctor.test/bad:latest: the name is taken`},
	{container.Config{Name: "../x"}, ctor.ErrInvalid, `name: identifier "../x" must match`},
	{container.Config{Name: "a b"}, ctor.ErrInvalid, `name: `},
	{container.Config{Name: "a\x00"}, ctor.ErrInvalid, `name: `},
	{container.Config{Name: strings.Repeat("n", 77)}, ctor.ErrInvalid, `greater than maximum length (76 characters)`},
	{container.Config{LogLimit: -2}, ctor.ErrInvalid, `log limit -2: it must be -1, 0 or at least 1048576`},
	{container.Config{LogLimit: 1000}, ctor.ErrInvalid, `log limit 1000`},
	{container.Config{Hostname: "a b"}, ctor.ErrInvalid, `hostname "a b": it must be at most 64 letters`},
	{container.Config{Hostname: "a\n127.0.0.1 x"}, ctor.ErrInvalid, `hostname`},
	{container.Config{Hostname: strings.Repeat("n", 65)}, ctor.ErrInvalid, `hostname`},
}

var badUsers = []badConfig{
	{container.Config{User: "nope"}, ctor.ErrNotFound, `user "nope": `},
	{container.Config{User: "app:nope"}, ctor.ErrNotFound, `user "app:nope": `},
	{container.Config{User: "-1"}, ctor.ErrInvalid, `user "-1": `},
	{container.Config{User: "4294967296"}, ctor.ErrInvalid, `user "4294967296": `},
	{container.Config{User: "0:4294967295"}, ctor.ErrInvalid, `user "0:4294967295": `},
	{container.Config{User: "99999999999999999999"}, ctor.ErrInvalid, `must be in range`},
	{container.Config{User: "a\nb"}, ctor.ErrInvalid, `user "a\nb": not a name`},
}

var badMounts = []badConfig{
	{mounts(container.Mount{Source: "/not/there", Target: "/x"}), ctor.ErrNotFound, `mount on "/x": source: stat /not/there`},
	{mounts(container.Mount{Source: "relative", Target: "/x"}), ctor.ErrInvalid, `the source "relative" must be an absolute path`},
	{mounts(container.Mount{Source: "", Target: "/x"}), ctor.ErrInvalid, `the source "" must be an absolute path`},
	{mounts(container.Mount{Source: "/tmp\x00x", Target: "/x"}), ctor.ErrInvalid, `zero byte`},
	{mounts(container.Mount{Source: "/etc/passwd/x", Target: "/x"}), ctor.ErrInvalid, `not a directory`},
	{mounts(container.Mount{Source: "/tmp", Target: "x"}), ctor.ErrInvalid, `the target must be an absolute path below /`},
	{mounts(container.Mount{Source: "/tmp", Target: "/a/.."}), ctor.ErrInvalid, `the target must be an absolute path below /`},
	{mounts(container.Mount{Source: "/tmp", Target: "/proc/1"}), ctor.ErrInvalid, `the target must not be in /proc`},
	{mounts(container.Mount{Source: "/tmp", Target: "/x", Size: 1}), ctor.ErrInvalid, `only Tmpfs has a size`},
	{mounts(container.Mount{Type: container.Tmpfs, Target: "/x", Source: "/tmp"}), ctor.ErrInvalid, `Tmpfs has no source`},
	{mounts(container.Mount{Type: container.Tmpfs, Target: "/x", Size: -1}), ctor.ErrInvalid, `no negative size`},
	{mounts(container.Mount{Source: "/tmp", Target: "/x", Exec: true}), ctor.ErrInvalid, `only Tmpfs has Mode and Exec`},
	{mounts(container.Mount{Source: "/tmp", Target: "/x", Mode: 0o700}), ctor.ErrInvalid, `only Tmpfs has Mode and Exec`},
	{mounts(container.Mount{Type: container.Tmpfs, Target: "/x", Mode: 0o700 | fs.ModeSetuid}), ctor.ErrInvalid, `it may have permissions and fs.ModeSticky`},
	{mounts(container.Mount{Type: container.Tmpfs, Target: "/x", CreateSource: true}), ctor.ErrInvalid, `only Bind has CreateSource and Propagation`},
	{mounts(container.Mount{Type: container.Volume, Target: "/x", Propagation: container.PropagateSlave}), ctor.ErrInvalid, `only Bind has CreateSource and Propagation`},
	{mounts(container.Mount{Source: "/tmp", Target: "/x", Propagation: "rshared"}), ctor.ErrInvalid, `propagation "rshared": it must be "rprivate" or "rslave"`},
	{mounts(container.Mount{Source: "relative", Target: "/x", CreateSource: true}), ctor.ErrInvalid, `the source "relative" must be an absolute path`},
	{mounts(container.Mount{Source: "/etc/passwd/x", Target: "/x", CreateSource: true}), ctor.ErrInvalid, `not a directory`},
	{mounts(container.Mount{Type: "nfs", Target: "/x"}), ctor.ErrInvalid, `unknown type "nfs"`},
}

func mounts(m ...container.Mount) container.Config { return container.Config{Mounts: m} }

var badLimits = []badConfig{
	{container.Config{Limits: container.Limits{Memory: 1 << 20}}, ctor.ErrInvalid, `memory limit of 1048576 bytes: a container needs 6291456 to start; 0 is no limit`},
	{container.Config{Limits: container.Limits{Memory: -1}}, ctor.ErrInvalid, `memory limit of -1 bytes`},
	{container.Config{Limits: container.Limits{CPUs: 0.001}}, ctor.ErrInvalid, `limit of 0.001 CPUs: it must be 0.01 or more, or 0 for all`},
	{container.Config{Limits: container.Limits{CPUs: -1}}, ctor.ErrInvalid, `limit of -1 CPUs`},
	{container.Config{Limits: container.Limits{Pids: -2}}, ctor.ErrInvalid, `limit of -2 processes`},
	{container.Config{Limits: container.Limits{CPUSet: "4095"}}, ctor.ErrInvalid, `list of CPUs "4095": this host has`},
	{container.Config{Limits: container.Limits{CPUSet: "3-1"}}, ctor.ErrInvalid, `"3-1" is no number and no range`},
	{container.Config{Limits: container.Limits{CPUShares: 1}}, ctor.ErrInvalid, `1 CPU shares: there must be 2 to 262144`},
	{container.Config{Limits: container.Limits{Swap: 1}}, ctor.ErrInvalid, `a limit of swap without one of memory`},
	{container.Config{Limits: container.Limits{Shm: -1}}, ctor.ErrInvalid, `/dev/shm of -1 bytes`},
	{container.Config{Limits: container.Limits{OOMScore: 1001}}, ctor.ErrInvalid, `OOM score 1001`},
	{container.Config{Limits: container.Limits{Disk: 7}}, ctor.ErrInvalid, `disk limit of 7 bytes`},
	{container.Config{Limits: container.Limits{Ulimits: map[string]container.Ulimit{"files": {}}}}, ctor.ErrInvalid, `unknown ulimit "files"`},
	{container.Config{Limits: container.Limits{Ulimits: map[string]container.Ulimit{"core": {Soft: 2, Hard: 1}}}}, ctor.ErrInvalid, `the first is more than the second`},
	{container.Config{Limits: container.Limits{Devices: []container.Device{{Source: "/dev/none"}}}}, ctor.ErrNotFound, `device "/dev/none": there is no such file`},
	{container.Config{Limits: container.Limits{Devices: []container.Device{{Source: "/etc/passwd"}}}}, ctor.ErrInvalid, `it is no device`},
	{container.Config{Limits: container.Limits{Devices: []container.Device{{Source: "/dev/null", Access: "x"}}}}, ctor.ErrInvalid, `access "x"`},
	{container.Config{Limits: container.Limits{IO: container.IO{Weight: 1001}}}, ctor.ErrInvalid, `I/O weight 1001`},
	{container.Config{Security: container.Security{CapDrop: []string{"CAP_FLY"}}}, ctor.ErrInvalid, `unknown capability "CAP_FLY"`},
	{container.Config{Security: container.Security{Tmp: -1}}, ctor.ErrInvalid, `/tmp of -1 bytes`},
	{container.Config{Mounts: []container.Mount{{Type: container.Files, Target: "/x"}}}, ctor.ErrInvalid, `Files has FS`},
	{container.Config{Mounts: []container.Mount{{Type: container.Image, Source: "x", Target: "/x"}}}, ctor.ErrInvalid, `Image has a Manifest`},
}

var errHook = errors.New("hook says no")

var badOthers = []badConfig{
	{container.Config{Env: []string{"NOVALUE"}}, ctor.ErrInvalid, `environment variable "NOVALUE" is not of the form NAME=value`},
	{container.Config{Env: []string{"=x"}}, ctor.ErrInvalid, `environment variable`},
	{container.Config{Env: []string{"A=\x00"}}, ctor.ErrInvalid, `environment variable`},
	{container.Config{Env: []string{"A=" + strings.Repeat("x", 1<<20)}}, ctor.ErrInvalid, `has 1048578 bytes, and the kernel takes less than`},
	{container.Config{Env: manyVariables}, ctor.ErrInvalid, `a quarter of the limit of the stack`},
	{container.Config{Dir: "/a\x00"}, ctor.ErrInvalid, `working directory "/a\x00" holds a zero byte`},
	{container.Config{Args: []string{"echo", "caf\xe9"}}, ctor.ErrInvalid, `a string is not UTF-8, and what is told in JSON must be, in `},
	{container.Config{Args: []string{"echo", "caf\xe9"}, Detach: true}, ctor.ErrInvalid, `"echo","caf\ufffd`},
	{container.Config{Env: []string{"A=\xff"}}, ctor.ErrInvalid, `"A=\ufffd`},
	{container.Config{Dir: "/caf\xe9"}, ctor.ErrInvalid, `"cwd":"/caf\ufffd`},
	{mounts(container.Mount{Type: container.Tmpfs, Target: "/caf\xe9"}), ctor.ErrInvalid, `"destination":"/caf\ufffd`},
	{container.Config{Spec: func(s *specs.Spec) error { s.Annotations = map[string]string{"a\xe9": ""}; return nil }}, ctor.ErrInvalid, `"a\ufffd`},
	{container.Config{Labels: map[string]string{"a": "caf\xe9"}}, ctor.ErrInvalid, `label "a": it is not UTF-8`},
	{container.Config{Labels: map[string]string{"io.ctor.x": "y"}}, ctor.ErrInvalid, `label "io.ctor.x": the name is reserved`},
	{container.Config{Labels: map[string]string{"containerd.io/gc.root": "y"}}, ctor.ErrInvalid, `the name is reserved`},
	{container.Config{Labels: map[string]string{"": "y"}}, ctor.ErrInvalid, `label "": `},
	{container.Config{Labels: map[string]string{"a": strings.Repeat("x", 5000)}}, ctor.ErrInvalid, `greater than maximum size (4096 bytes)`},
	{container.Config{StopSignal: "SIGNOPE"}, ctor.ErrInvalid, `signal "SIGNOPE" is not known`},
	{container.Config{StopSignal: "65"}, ctor.ErrInvalid, `signal "65" is not known`},
	{container.Config{Detach: true, Stdout: &strings.Builder{}}, ctor.ErrInvalid, `a detached container outlives the program's readers and writers`},
	{container.Config{Spec: func(*specs.Spec) error { return errHook }}, errHook, `Config.Spec: hook says no`},
	{container.Config{Spec: func(s *specs.Spec) error { s.Process = nil; return nil }}, ctor.ErrInvalid, `it leaves no process`},
}

var manyVariables = func() (env []string) {
	for i := range 100 {
		env = append(env, "A"+itoa(i)+"="+strings.Repeat("x", 100<<10))
	}
	return env
}()

// dynamic is the head of an ELF program that needs a loader: its header and
// one program header, PT_INTERP.
var dynamic = func() string {
	const interp = "/lib64/ld-nope.so\x00"
	h := make([]byte, 120)
	copy(h, "\x7fELF\x02\x01\x01")
	h[16], h[18], h[20], h[32], h[52], h[54], h[56], h[58] = 2, 62, 1, 64, 64, 56, 1, 64
	h[64], h[72], h[96], h[104] = 3, 120, byte(len(interp)), byte(len(interp))
	return string(h) + interp
}()

// Without the runc command, and a shim that does not need it, containers run, but for
// those that ours does not make: the error says which, and what would.
func TestNoRunc(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	out, err := img.Command(t.Context(), "echo", "made").Output()
	require.NoError(t, err)
	require.Equal(t, "made\n", string(out))
	before := fixture.Count(t, e)
	_, err = img.New(t.Context(), container.Config{Spec: func(s *specs.Spec) error {
		s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/true"}}}
		return nil
	}})
	require.ErrorIs(t, err, ctor.ErrUnavailable)
	require.ErrorContains(t, err, "hooks: ")
	require.ErrorContains(t, err, "no runc or crun on PATH to run containers with (unavailable): "+host.Provide("runc"))
	require.Equal(t, before, fixture.Count(t, e))
}

// What the runtime alone finds out has a class as well.
func TestRuntimeError(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	_, err := img.New(t.Context(), mounts(container.Mount{Source: "/etc", Target: "/x"}, container.Mount{Source: "/etc/hostname", Target: "/bin"}))
	require.ErrorIs(t, err, ctor.ErrInvalid)
	before := fixture.Count(t, e)
	cfg := mounts(container.Mount{Source: "/etc", Target: "/x"})
	cfg.Args = []string{"/x/nope"}
	_, err = img.New(t.Context(), cfg)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// A hook that panics takes the program's way, and leaves nothing.
func TestPanickingHook(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	try := func() {
		defer func() { require.Equal(t, "hook", recover()) }()
		_, _ = img.New(t.Context(), container.Config{Spec: func(*specs.Spec) error { panic("hook") }})
	}
	try()
	before := fixture.Count(t, e)
	try()
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	img := busybox(t)
	cancel()
	_, err := img.New(ctx, container.Config{})
	require.ErrorIs(t, err, context.Canceled)

	c, err := img.New(t.Context(), container.Config{})
	require.NoError(t, err)
	defer c.Close()
	require.ErrorIs(t, c.Start(ctx), context.Canceled)
	require.Equal(t, container.Created, info(t, c).State)
	require.ErrorIs(t, c.Stop(ctx), context.Canceled)
	require.ErrorIs(t, c.Pause(ctx), context.Canceled)
	_, err = c.Info(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = container.Get(ctx, c.Engine(), c.ID())
	require.ErrorIs(t, err, context.Canceled)
}
