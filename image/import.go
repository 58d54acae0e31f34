package image

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/packing"
	"github.com/ctorhq/ctor/internal/reference"
)

// Import reads the images of an archive into the store: a tar of an OCI image
// layout (OCI image-spec, image-layout.md), or what `docker save` writes, plain
// or compressed with gzip or zstd. They are read when first needed, not
// unpacked.
//
// Each image gets the names that the archive gives it, completed as Docker does
// it; one without a name that can be read, or with a tag alone, goes by its
// digest, as "docker.io/library/import@sha256:…". A name that is there already
// moves. What is about an image, such as a signature, is left out.
//
// An archive that holds no image, or is damaged or cut off, is ctor.ErrInvalid,
// and leaves nothing. Errors of r are passed on. When ctx ends, Import returns
// at once, even while a Read of r is under way; that Read is then left to
// return when it will.
func Import(ctx context.Context, e *ctor.Engine, r io.Reader) (_ []*Image, err error) {
	defer wrap(&err, "import images", "")
	in := engine.Of(e)
	ctx, end, err := begin(ctx, in)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	src := &source{ctx: ctx, r: r}
	im := importer{e: e, cs: newApart(in.Client.ContentStore())}
	defer im.cs.abort(ctx)
	list, err := im.run(ctx, src)
	if cause := src.failed.Load(); err != nil && cause != nil {
		return nil, *cause // however it was put on the way
	}
	return list, damaged(err)
}

// damaged is blame for an archive, where what can't be found should be there.
func damaged(err error) error {
	if errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) {
		return fmt.Errorf("%v: %w", err, errdefs.ErrInvalidArgument)
	}
	return blame(err)
}

// importer reads one archive.
type importer struct {
	e  *ctor.Engine
	cs *apart
}

// run gives names only when everything is known to be in order.
func (im *importer) run(ctx context.Context, r io.Reader) ([]*Image, error) {
	index, err := im.unpack(ctx, r)
	if err != nil {
		return nil, err
	}
	var list []*Image
	for _, d := range index.Manifests {
		i, err := im.image(ctx, d)
		if err != nil {
			return nil, err
		}
		if i != nil {
			list = append(list, i)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("the archive holds no image: %w", errdefs.ErrInvalidArgument)
	}
	for _, i := range list {
		if err := name(ctx, i.e, i.ref, i.target); err != nil {
			return nil, err
		}
	}
	im.cs.keep()
	return list, nil
}

// unpack puts the archive's files into the content store, and gives the list
// of its images.
func (im *importer) unpack(ctx context.Context, r io.Reader) (index ocispec.Index, err error) {
	tar, err := packing.Decompress(ctx, r)
	if err != nil {
		return index, err
	}
	files := repacked(tar)
	defer files.Close()
	d, err := archive.ImportIndex(ctx, blobsByName{im.cs}, files)
	if err != nil {
		return index, err
	}
	if _, err := io.Copy(io.Discard, files); err != nil {
		return index, err
	}
	if err := readJSON(ctx, im.cs, d, &index); err != nil {
		return index, err
	}
	if len(index.Manifests) > maxParts {
		return index, fmt.Errorf("the archive lists %d images, more than %d: %w", len(index.Manifests), maxParts, errdefs.ErrInvalidArgument)
	}
	return index, nil
}

// image gives the image that one entry of the archive's list stands for, nil
// if it is something else.
func (im *importer) image(ctx context.Context, d ocispec.Descriptor) (*Image, error) {
	if !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
		return nil, acceptable(d)
	}
	if _, refers := d.Annotations[images.AnnotationManifestSubject]; refers {
		return nil, nil
	}
	// What a part lists is kept as long as the part. An archive needn't have
	// every platform of an index.
	link := images.SetChildrenLabels(im.cs, func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		list, err := arrived(ctx, im.cs, d)
		if errdefs.IsNotFound(err) {
			return nil, images.ErrSkipDesc
		}
		return list, err
	})
	if err := images.Walk(ctx, link, d); err != nil {
		return nil, err
	}
	r := archiveName(d)
	i, err := load(ctx, im.e, r, d, nil)
	if err != nil && im.isAbout(ctx, d) {
		return nil, nil
	}
	if err == nil {
		err = i.hold(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	return i, nil
}

// isAbout tells whether a manifest is about another, as a signature is, or a bill
// of materials: by its subject, or by cosign's name for it.
func (im *importer) isAbout(ctx context.Context, d ocispec.Descriptor) bool {
	if cosigned.MatchString(d.Annotations[ocispec.AnnotationRefName]) {
		return true
	}
	var m struct {
		Subject *ocispec.Descriptor `json:"subject"`
	}
	return readJSON(ctx, im.cs, d, &m) == nil && m.Subject != nil
}

var cosigned = regexp.MustCompile(`(^|:)sha256-[0-9a-f]{64}(\.[a-z]+)?$`)

// archiveName is the name that an archive gives an image. By the OCI's ref.name
// most tools mean the tag alone, which is no name without a repository.
func archiveName(d ocispec.Descriptor) reference.Reference {
	for _, key := range []string{images.AnnotationImageName, ocispec.AnnotationRefName} {
		name := strings.TrimSpace(d.Annotations[key])
		if key == ocispec.AnnotationRefName && !strings.ContainsAny(name, ":/@") {
			continue
		}
		if r, err := reference.Parse(name); err == nil {
			return r
		}
	}
	return reference.Reference{Host: reference.DockerHub, Repository: "library/import", Digest: d.Digest}
}

// source is a reader that heeds ctx, also while a Read of r is under way. It
// keeps ctx, since io.Reader has no other place for it.
type source struct {
	ctx  context.Context
	r    io.Reader
	buf  []byte
	have []byte // of buf, not handed on yet
	err  error  // of every further Read

	failed atomic.Pointer[error] // the same, if it is not the end: for other goroutines
}

func (s *source) Read(p []byte) (int, error) {
	if len(s.have) == 0 && s.err == nil {
		s.fill()
	}
	if len(s.have) == 0 {
		return 0, s.err
	}
	n := copy(p, s.have)
	s.have = s.have[n:]
	return n, nil
}

func (s *source) fill() {
	if s.buf == nil {
		s.buf = make([]byte, 256<<10)
	}
	var n int
	var err error
	done := make(chan struct{})
	buf := s.buf
	go func() {
		defer close(done)
		n, err = s.r.Read(buf)
	}()
	select {
	case <-done:
		s.have, s.err = s.buf[:n], err
	case <-s.ctx.Done():
		s.err = s.ctx.Err() // and buf is never touched again
	}
	if s.err != nil && s.err != io.EOF {
		s.failed.Store(&s.err)
	}
}
