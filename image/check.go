package image

import (
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
)

// Damage is a part of an image that the store doesn't have as its digest says.
type Damage struct {
	Digest    digest.Digest // what it should be
	Size      int64         // bytes that it should have
	MediaType string        // as an image lists it; "" if none does
	Missing   bool          // it is not there at all
	Problem   string        // what is wrong: "it is missing", "its content has digest sha256:…"
	Images    []string      // the names that have it, in their order; none: no image has it
}

// String returns a line such as
//
//	sha256:5891… (application/vnd.oci.image.layer.v1.tar+gzip): it has 512 bytes, not 1024; of docker.io/library/alpine:latest
func (d Damage) String() string {
	s := d.Digest.String()
	if d.MediaType != "" {
		s += " (" + d.MediaType + ")"
	}
	s += ": " + d.Problem
	if len(d.Images) > 0 {
		s += "; of " + strings.Join(d.Images, ", ")
	}
	return s
}

// CheckOptions change how Check works. nil is the zero value.
type CheckOptions struct {
	// Progress is told, by one goroutine at a time, how many bytes were read of how
	// many. nil means no reports.
	Progress func(read, total int64)
}

// Check reads all that the store has of images, compares it to its digests, and gives
// what is damaged or missing, in the order of digests: after a power cut, or on a disk
// that fails. [Repair] mends it. Of an image of several platforms those that were never
// there are not missing.
//
// It looks at what images are stored as, which is what other images, registries and
// archives get. What is unpacked of them is not compared: where it is in doubt, remove
// the image and pull it again.
//
// Other calls go on meanwhile. What is removed before Check has come to it is not
// looked at. An error means that not everything was looked at.
func Check(ctx context.Context, e *ctor.Engine, o *CheckOptions) (_ []Damage, err error) {
	defer wrap(&err, "check images", "")
	if o == nil {
		o = &CheckOptions{}
	}
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	c := checker{e: in, cs: in.Client.ContentStore(), progress: o.Progress, listed: map[digest.Digest]*listing{}}
	list, err := c.check(ctx)
	return list, engine.Cause(ctx, err)
}

// checker looks at everything in the store.
type checker struct {
	e        *engine.Engine
	cs       content.Store
	listed   map[digest.Digest]*listing
	progress func(read, total int64) // nil: no reports

	mu          sync.Mutex
	read, total int64
	damage      []Damage
}

// listing is what images say of a part.
type listing struct {
	ocispec.Descriptor
	names    map[string]bool
	required bool // its manifest is there, and so it should be
}

func (c *checker) check(ctx context.Context) ([]Damage, error) {
	records, err := c.e.Client.ImageService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, rec := range records {
		if err := c.list(ctx, rec.Name, rec.Target, true, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", rec.Name, err)
		}
	}
	there := map[digest.Digest]content.Info{}
	err = c.cs.Walk(ctx, func(i content.Info) error {
		there[i.Digest] = i
		c.total += i.Size
		return nil
	})
	if err != nil {
		return nil, err
	}
	for d, l := range c.listed {
		if _, ok := there[d]; !ok && l.required {
			if err := c.absent(ctx, l); err != nil {
				return nil, err
			}
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, d := range slices.Sorted(maps.Keys(there)) {
		g.Go(func() error { return c.one(gctx, there[d]) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(c.damage, func(a, b Damage) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	return c.damage, nil
}

// list notes what leads from a name to a part, and on from there. What can't be read,
// or is not what its digest says, leads nowhere.
func (c *checker) list(ctx context.Context, name string, d ocispec.Descriptor, required bool, depth int) error {
	l := c.listed[d.Digest]
	if l == nil {
		l = &listing{Descriptor: plain(d), names: map[string]bool{}}
		l.URLs = d.URLs
		c.listed[d.Digest] = l
	}
	if l.names[name] && (l.required || !required) || depth > maxNesting+1 {
		return nil
	}
	l.names[name], l.required = true, l.required || required
	manifest := images.IsManifestType(d.MediaType)
	if !manifest && !images.IsIndexType(d.MediaType) || acceptable(d) != nil {
		return nil
	}
	b, err := readBlob(ctx, c.cs, d)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || d.Digest.Algorithm().FromBytes(b) != d.Digest {
		return nil
	}
	below, err := children(ctx, c.cs, d)
	if err != nil {
		return ctx.Err()
	}
	for _, child := range below {
		if err := c.list(ctx, name, child, manifest, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// absent notes that a part is missing, unless its images are gone as well by now.
func (c *checker) absent(ctx context.Context, l *listing) error {
	for name := range l.names {
		_, err := c.e.Client.ImageService().Get(ctx, name)
		if errdefs.IsNotFound(err) {
			delete(l.names, name)
		} else if err != nil {
			return err
		}
	}
	if _, err := c.cs.Info(ctx, l.Digest); err == nil || !errdefs.IsNotFound(err) {
		return err // it has come meanwhile
	}
	if len(l.names) > 0 {
		c.found(l.Digest, l.Size, "it is missing", true)
	}
	return nil
}

// one compares a part to its digest.
func (c *checker) one(ctx context.Context, i content.Info) error {
	problem, err := c.problem(ctx, i)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && problem == "" {
		return nil
	}
	// It may have been removed meanwhile.
	if _, ierr := c.cs.Info(ctx, i.Digest); errdefs.IsNotFound(ierr) {
		return nil
	} else if ierr != nil {
		return ierr
	}
	missing := errdefs.IsNotFound(err)
	switch {
	case missing:
		problem = "it is missing"
	case err != nil:
		problem = "it can't be read: " + err.Error()
	}
	c.found(i.Digest, i.Size, problem, missing)
	return nil
}

// problem says what is wrong with a part; "" is nothing.
func (c *checker) problem(ctx context.Context, i content.Info) (string, error) {
	ra, err := c.cs.ReaderAt(ctx, ocispec.Descriptor{Digest: i.Digest, Size: i.Size})
	if err != nil {
		return "", err
	}
	defer ra.Close()
	if n := ra.Size(); n != i.Size {
		return fmt.Sprintf("it has %d bytes, not %d", n, i.Size), nil
	}
	if i.Digest.Validate() != nil {
		return "its digest is none", nil
	}
	digester := i.Digest.Algorithm().Digester()
	from := content.NewReader(ra)
	for err == nil {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		var n int64
		n, err = io.CopyN(digester.Hash(), from, 1<<20)
		c.advance(n)
	}
	if err != io.EOF {
		return "", err
	}
	if got := digester.Digest(); got != i.Digest {
		return "its content has digest " + got.String(), nil
	}
	return "", nil
}

func (c *checker) advance(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read += n
	if c.progress != nil {
		c.progress(c.read, c.total)
	}
}

func (c *checker) found(d digest.Digest, size int64, problem string, missing bool) {
	damage := Damage{Digest: d, Size: size, Problem: problem, Missing: missing}
	if l := c.listed[d]; l != nil {
		damage.Size, damage.MediaType = l.Size, l.MediaType
		damage.Images = slices.Sorted(maps.Keys(l.names))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.damage = append(c.damage, damage)
}
