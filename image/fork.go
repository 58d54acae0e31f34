package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/packing"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// maxForks is how many layers that are not packed may lie on each other. Each makes a
// container's files a little slower to find, and the kernel has a limit.
const maxForks = 16

// Fork makes an image of a container, as Commit does, without packing what it has
// written: its writable layer itself becomes the image's top layer, and containers of
// the image are made in milliseconds, however large it is. They share its files, and
// each copies one that it writes to when it first does: on XFS with reflinks and Btrfs
// that takes no time either, elsewhere as long as the file is large.
//
// An attached container that has ended is not copied. It goes on with a new, empty
// layer above: so it is an instance of the new image from then on, as Info says, and
// Changes and Commit count from there.
//
// The layer of any other container is copied, at the speed of the disk, or at once where
// the file system has reflinks. That is so for a container that is kept or detached,
// that was never started, or that has a Limits.Disk; and for one that runs, which is
// paused during the copy. The copy of a running container is what a crash of its
// processes would leave: a database recovers from that by its own journal, and a
// program without one may find half of what it was writing. Stop the container first if
// that matters. What is in memory, in mounts and in volumes is not part of the image.
//
// A fork is this engine's own. Push, Export, Layers, Squash and Recompress pack it the
// first time, and what they return has another Digest; Handler does not serve forks.
// When more than sixteen forks lie on each other, they are copied into one, whatever the
// container is; the name moves on, and so does an attached container that has ended. Where
// the snapshotter is not overlayfs, Fork is Commit.
//
// A ref that the container itself was made by may be taken again and again: the container
// keeps the image that it is an instance of. As long as Fork copies, no life of the
// container begins: a restart policy waits, and Start is ctor.ErrInvalid. Close, Remove and
// the end of ctx end the copy. Close files of FS that are open for writing before: what is
// written to them later may be in the image.
//
// Errors are those of Commit, and ctor.ErrInvalid for a container with Security.UserNS,
// whose files belong to users that no other container has. When Fork fails after the
// container's layer has become the image's, the image has its name all the same, and
// [Get] returns it.
func Fork(ctx context.Context, c *container.Container, ref string) (_ *Image, err error) {
	defer wrap(&err, fmt.Sprintf("fork container %q as", c.Name()), ref)
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	ctx, base, info, end, err := capture(ctx, c)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	entry, err := base.e.Client.ContainerService().Get(ctx, c.ID())
	if err != nil {
		return nil, err
	}
	if entry.SnapshotKey == "" {
		return nil, fmt.Errorf("its files are the program's, and no image's: %w", errdefs.ErrInvalidArgument)
	}
	if about, _ := record.Of(entry); about.Users != 0 {
		return nil, fmt.Errorf("with Security.UserNS its files belong to users that no other container has: %w", errdefs.ErrInvalidArgument)
	}
	f := fork{base: base, c: c, record: entry, sn: base.e.Client.SnapshotService(base.e.Snapshotter)}
	if f.made, err = madeIn(entry); err != nil {
		return nil, err
	}
	if err := keepClass(ctx, c, info, r); err != nil {
		return nil, err
	}
	if entry.Snapshotter != base.e.Snapshotter || base.e.Snapshotter != "overlayfs" {
		return base.commitStill(ctx, c, r, &CommitOptions{})
	}
	return f.make(ctx, r)
}

// fork is the making of one.
type fork struct {
	base   *Image
	c      *container.Container
	record containers.Container
	sn     snapshots.Snapshotter
	made   []string
	parent string // what the new layer lies on
	all    bool   // it has also what is in layers between
	chain  string // of the new image
	done   bool   // its files are there
}

// mark is the blob of a layer that is not packed.
type mark struct {
	Fork string   // which it is
	Made []string // paths that the runtime has made: see rootfs.Diff
}

func (f *fork) make(ctx context.Context, r reference.Reference) (*Image, error) {
	m := newMaker(f.base)
	defer m.cs.abort(ctx)
	if below := m.forks(); below >= maxForks {
		f.all = true
		m.drop(below)
	}
	f.parent = identity.ChainID(m.config.RootFS.DiffIDs).String()
	if err := m.addFork(ctx, f.base, f.made); err != nil {
		return nil, err
	}
	f.chain = identity.ChainID(m.config.RootFS.DiffIDs).String()
	i, err := m.assemble(ctx, r)
	if err != nil {
		return nil, err
	}
	err = engine.Rebase(ctx, f.c, func(ctx context.Context, _ containers.Container) (engine.Origin, error) {
		o := engine.Origin{Ref: r.String(), Image: i.manifest.Digest.String()}
		if f.all {
			return o, f.replace(ctx)
		}
		return o, f.hand(ctx)
	})
	if errors.Is(err, engine.ErrNotStill) {
		err = still(ctx, f.c, f.copy)
	}
	if !f.done {
		return nil, err
	}
	// What the container had is the image's now, so that it has its name whatever else
	// failed, and although ctx may have ended.
	ctx, cancel := f.base.e.Cleanup(ctx)
	defer cancel()
	if err = errors.Join(err, m.name(ctx, i)); err != nil {
		return nil, err
	}
	return i, nil
}

// forks tells how many layers on top are not packed.
func (m *maker) forks() (n int) {
	for n < len(m.layers) && packing.IsFork(m.layers[len(m.layers)-1-n]) {
		n++
	}
	return n
}

// drop takes layers off the top.
func (m *maker) drop(n int) {
	m.layers = m.layers[:len(m.layers)-n]
	m.config.RootFS.DiffIDs = m.config.RootFS.DiffIDs[:len(m.layers)]
	for h := len(m.config.History); n > 0; {
		if h--; !m.config.History[h].EmptyLayer {
			m.config.History = append(m.config.History[:h:h], m.config.History[h+1:]...)
			n--
		}
	}
}

// addFork puts a layer on top that is not packed. Its files are kept as long as its blob,
// which each image that is made of this one lists as well.
func (m *maker) addFork(ctx context.Context, base *Image, made []string) error {
	b, err := json.Marshal(mark{Fork: rand.Text(), Made: made})
	if err != nil {
		return err
	}
	d := ocispec.Descriptor{MediaType: packing.ForkType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	chain := identity.ChainID(append(slices.Clone(m.config.RootFS.DiffIDs), d.Digest)).String()
	keeps := content.WithLabels(map[string]string{snapshotRefLabel + base.e.Snapshotter: chain})
	if err := content.WriteBlob(ctx, m.cs, d.Digest.String(), bytes.NewReader(b), d, keeps); err != nil {
		return err
	}
	now := time.Now().UTC()
	spec := base.Spec()
	spec.Created, spec.History = &now, m.config.History
	spec.RootFS.DiffIDs = m.config.RootFS.DiffIDs
	m.config.edit(spec)
	m.append(d, d.Digest, ocispec.History{Created: &now, CreatedBy: "fork"})
	return nil
}

// hand makes the container's layer the image's, and another one the container's.
func (f *fork) hand(ctx context.Context) error {
	mounts, err := f.sn.Mounts(ctx, f.record.SnapshotKey)
	if err != nil {
		return err
	}
	if err := rootfs.Sync(mounts); err != nil {
		return err
	}
	ctx, cancel := f.base.e.Cleanup(ctx) // Sync may have taken all of the time that there was
	defer cancel()
	if err := f.sn.Commit(ctx, f.chain, f.record.SnapshotKey); err != nil {
		return err
	}
	f.done = true
	return f.above(ctx)
}

// above gives the container, which has no layer, an empty one above the image's.
func (f *fork) above(ctx context.Context) error {
	_, err := f.sn.Prepare(ctx, f.record.SnapshotKey, f.chain, snapshots.WithLabels(engine.LayerLabels(f.record.ID, false)))
	if err != nil {
		return fmt.Errorf("the container's files are the image's, and it has no layer of its own any more: %w", err)
	}
	return nil
}

// replace copies the container's layer, and gives the container an empty one above.
func (f *fork) replace(ctx context.Context) error {
	if err := f.copy(ctx); err != nil {
		return err
	}
	ctx, cancel := f.base.e.Cleanup(ctx)
	defer cancel()
	if err := f.sn.Remove(ctx, f.record.SnapshotKey); err != nil {
		return err
	}
	return f.above(ctx)
}

// copy makes the image's layer of what the container has written.
func (f *fork) copy(ctx context.Context) (err error) {
	key := "fork-" + rand.Text()
	to, err := f.sn.Prepare(ctx, key, f.parent, snapshots.WithLabels(engine.OwnRoot()))
	if err != nil {
		return err
	}
	defer func() {
		if !f.done {
			err = errors.Join(err, f.base.e.RemoveSnapshot(key))
		}
	}()
	from, err := f.sn.Mounts(ctx, f.record.SnapshotKey)
	if err != nil {
		return err
	}
	if f.all {
		err = f.flatten(ctx, from, to)
	} else {
		err = rootfs.Duplicate(ctx, to, from)
	}
	if err != nil {
		return fmt.Errorf("copy its layer: %w", err)
	}
	if err := rootfs.Sync(to); err != nil {
		return err
	}
	if err := f.sn.Commit(ctx, f.chain, key); err != nil {
		return err
	}
	f.done = true
	return nil
}

// flatten writes, over the parent, all that the container's files differ in from those.
func (f *fork) flatten(ctx context.Context, from, to []mount.Mount) (err error) {
	e, at := f.base.e, f.base.e.Dir(f.record.ID)
	d, err := e.Doors.Diff(from, at)
	if err != nil {
		return err
	}
	all := rootfs.Diff{After: d.After, Made: f.made}
	d.After = nil
	d.Close()
	defer func() { err = errors.Join(err, all.Close()) }()
	if f.parent != "" {
		key := "below-" + rand.Text()
		below, err := f.sn.View(ctx, key, f.parent, snapshots.WithLabels(engine.OwnRoot()))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, e.RemoveSnapshot(key)) }()
		if all.Before, err = e.Doors.Snapshot(below, at); err != nil {
			return err
		}
	}
	return all.Apply(ctx, to)
}

// madeIn are the paths that the runtime has made in a container, to mount on.
func madeIn(c containers.Container) (made []string, err error) {
	var s specs.Spec
	if err := json.Unmarshal(c.Spec.GetValue(), &s); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	for _, m := range s.Mounts {
		made = append(made, m.Destination)
	}
	if s.Process != nil {
		made = append(made, s.Process.Cwd)
	}
	return made, nil
}
