package whole

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/reexec"
	installs "github.com/ctorhq/ctor/internal/shim"
	"github.com/ctorhq/ctor/internal/shim/link"
)

// otherProtocol builds the shim of a version whose protocol is another.
func otherProtocol(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles the shim")
	}
	for _, tool := range []string{"go", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("the shim can't be compiled here: hack/setup shim")
		}
	}
	dir := t.TempDir()
	source, err := filepath.Abs("../shim/link/protocol.go")
	require.NoError(t, err)
	code, err := os.ReadFile(source)
	require.NoError(t, err)
	before, after := `const Protocol = "`+link.Protocol+`"`, `const Protocol = "other"`
	require.Contains(t, string(code), before)
	instead := filepath.Join(dir, "protocol.go")
	require.NoError(t, os.WriteFile(instead, []byte(strings.Replace(string(code), before, after, 1)), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: instead}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay"), overlay, 0o600))
	shim := filepath.Join(dir, link.Name)
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-overlay", filepath.Join(dir, "overlay"), "-o", shim, ".")
	build.Dir = "../../cmd/" + link.Name
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return shim
}

// A shim of another version is refused, and refuses, in words that tell what to
// do.
func TestOtherShim(t *testing.T) {
	shim := otherProtocol(t)
	e := fixture.Engine(t, ctor.Config{Shim: shim})
	says := "shim " + shim + " is of another version: it speaks protocol other, and this program protocol " + link.Protocol +
		" (unavailable): " + installs.Install()
	i, err := e.Info(t.Context())
	require.NoError(t, err)
	require.Contains(t, i.Lacks, says)
	img := fixture.Busybox(t, e)
	before := fixture.Count(t, e)
	for _, detach := range []bool{false, true, false} {
		_, err := img.Run(t.Context(), container.Config{Name: "c", Detach: detach})
		require.ErrorIs(t, err, ctor.ErrUnavailable)
		require.EqualError(t, err, `new container "c" of `+img.Ref()+": "+says)
		left := fixture.Count(t, e)
		delete(left, "snapshots") // the image's
		require.Equal(t, before, left)
	}
	log, err := os.ReadFile(filepath.Join(e.Root(), "state/tasks/shim.log"))
	require.NoError(t, err)
	refusal := link.Name + ": the program that started it speaks protocol " + link.Protocol + ", and this shim protocol other\n"
	require.Equal(t, refusal+refusal, string(log))
}

// A program that names none, as one before there were protocols, is refused as
// well.
func TestNoProtocol(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	self := exec.Command("/proc/self/exe")
	self.Args = reexec.Args(link.Name, link.Role, link.Attached)
	self.ExtraFiles = []*os.File{theirs} // link.Tasks
	out, err := self.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, link.Name+": the program that started it speaks no protocol, and this shim protocol "+link.Protocol+"\n", string(out))
}

// What is named as shim, and ends without a word, need not be one.
func TestNoShim(t *testing.T) {
	t.Parallel()
	e := fixture.Engine(t, ctor.Config{Shim: "/bin/true"})
	_, err := fixture.Busybox(t, e).New(t.Context(), container.Config{})
	require.ErrorIs(t, err, ctor.ErrUnavailable)
	require.ErrorContains(t, err, `shim /bin/true does not tell what it is: it calls itself "", not "io.containerd.ctor.v2" (unavailable): `+installs.Install())
}

// detached opens an engine with detached containers, and tells their ids, by
// name, and what there was before them.
func detached(t *testing.T, root string, names ...string) (*ctor.Engine, map[string]string, fixture.Remains) {
	t.Helper()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	img := fixture.Busybox(t, e)
	require.Equal(t, "hi\n", fixture.Echo(t, e, "first", "hi")) // unpacks it
	before := fixture.Count(t, e)
	ids := map[string]string{}
	for _, name := range names {
		c, err := img.Run(t.Context(), container.Config{Name: name, Args: []string{"sh", "-c", "echo kept; exec sleep 1000"}, Detach: true})
		require.NoError(t, err)
		ids[name] = c.ID()
	}
	return e, ids, before
}

// A detached container of a program whose protocol was another is there, runs
// on, and can be removed, but nothing else: each call says why. The protocol is
// in the name of its shim's socket, and only that is not this version's here.
func TestOtherDetached(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, ids, before := detached(t, root, "other", "same")
	require.NoError(t, e.Close())
	retell(t, root, ids["other"], link.Protocol, "0")

	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	list, err := container.List(t.Context(), e)
	require.NoError(t, err)
	require.Len(t, list, 2)
	other := list[0]
	const says = "the program that made it was of another version: its shim speaks protocol 0, and this program protocol " + link.Protocol + " (failed precondition): "
	_, err = other.Info(t.Context())
	require.EqualError(t, err, `info of container "other": `+says+"close it, or open the engine in a program of that version")
	require.ErrorContains(t, other.Wait(t.Context()), says)
	require.ErrorContains(t, other.Stop(t.Context()), says)
	require.ErrorContains(t, other.Start(t.Context()), says)
	require.ErrorContains(t, other.Command(t.Context(), "true").Run(), says)
	_, err = other.Stats(t.Context())
	require.ErrorContains(t, err, says)
	_, err = other.Dial(t.Context(), "tcp", "localhost:80")
	require.ErrorContains(t, err, says)
	_, err = other.FS().ReadFile("etc/passwd")
	require.ErrorContains(t, err, says)
	log, err := other.Logs(t.Context(), nil)
	require.NoError(t, err)
	said, err := io.ReadAll(log)
	require.NoError(t, err)
	require.NoError(t, log.Close())
	require.Equal(t, "kept\n", string(said))
	// Nobody else is the worse for it.
	tasks, err := e.Containerd().TaskService().List(e.Context(t.Context()), &api.ListTasksRequest{})
	require.NoError(t, err)
	states := map[string]task.Status{}
	for _, p := range tasks.Tasks {
		states[p.ID] = p.Status
	}
	require.Equal(t, map[string]task.Status{ids["other"]: task.Status_UNKNOWN, ids["same"]: task.Status_RUNNING}, states)

	// To its own version it is as it was.
	require.NoError(t, e.Close())
	retell(t, root, ids["other"], "0", link.Protocol)
	e, err = ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	fixture.Running(t, e, "other")
	require.NoError(t, e.Close())
	retell(t, root, ids["other"], link.Protocol, "0")

	e = fixture.Engine(t, ctor.Config{Root: root})
	other, err = container.Get(t.Context(), e, "other")
	require.NoError(t, err)
	require.Len(t, fixture.Shims(root), 2)
	require.NoError(t, other.Close())
	require.Len(t, fixture.Shims(root), 1)
	require.NoError(t, fixture.Running(t, e, "same").Close())
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
	require.Equal(t, "hi\n", fixture.Echo(t, e, "other", "hi"))
}

// What a program of another version was making when it was killed, or deleting,
// goes all the same.
func TestOtherDetachedSwept(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("TestOtherDetached shows most of it")
	}
	root := t.TempDir()
	e, ids, before := detached(t, root, "made", "deleted")
	records, ctx := e.Containerd().ContainerService(), e.Context(t.Context())
	made, err := records.Get(ctx, ids["made"])
	require.NoError(t, err)
	about, _ := record.Of(made)
	about.Owner = deadOwner
	require.NoError(t, about.Put(&made))
	_, err = records.Update(ctx, made)
	require.NoError(t, err)
	require.NoError(t, records.Delete(ctx, ids["deleted"]))
	snapshots := e.Containerd().SnapshotService(e.Snapshotter())
	info, err := snapshots.Stat(ctx, ids["deleted"])
	require.NoError(t, err)
	info.Labels[engine.OwnerLabel] = deadOwner
	_, err = snapshots.Update(ctx, info)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.Len(t, fixture.Shims(root), 2)
	retell(t, root, ids["made"], link.Protocol, "0")
	retell(t, root, ids["deleted"], link.Protocol, "0")

	require.NoError(t, os.Truncate(filepath.Join(root, "lock"), 0)) // as a killed program leaves it
	e = fixture.Engine(t, ctor.Config{Root: root})
	require.Empty(t, fixture.Shims(root))
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// retell has a detached shim's socket tell another protocol.
func retell(t *testing.T, root, id, before, after string) {
	t.Helper()
	socket := func(protocol string) string {
		return filepath.Join(root, "state/tasks/bundle/ctor", id, "task-"+protocol+".sock")
	}
	require.NoError(t, os.Rename(socket(before), socket(after)))
}
