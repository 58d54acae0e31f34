package image

import (
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Phase is how far a layer has come.
type Phase string

// The phases of a layer, in their order. One whose content was there already
// goes from Waiting to Exists.
const (
	Waiting    Phase = "waiting"
	Fetching   Phase = "fetching"
	Fetched    Phase = "fetched"
	Extracting Phase = "extracting"
	Complete   Phase = "complete"
	Exists     Phase = "exists"
)

// Progress is the state of one layer.
type Progress struct {
	Layer digest.Digest
	Phase Phase
	Bytes int64 // fetched, or, when Extracting, extracted of the compressed layer
	Total int64 // of the compressed layer
}

// report passes progress on. Of nil nothing is reported.
type report struct {
	mu   sync.Mutex
	to   func(Progress)
	last map[digest.Digest]Phase
}

func newReport(to func(Progress)) *report {
	return &report{to: to, last: map[digest.Digest]Phase{}}
}

func (r *report) say(d ocispec.Descriptor, phase Phase, n int64) {
	if r.to == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.last[d.Digest]; l == Exists || l == Complete {
		return // an image may list one layer twice
	}
	r.last[d.Digest] = phase
	r.to(Progress{d.Digest, phase, n, d.Size})
}

func (r *report) waiting(d ocispec.Descriptor) { r.say(d, Waiting, 0) }
func (r *report) fetched(d ocispec.Descriptor) { r.say(d, Fetched, d.Size) }
func (r *report) exists(d ocispec.Descriptor)  { r.say(d, Exists, d.Size) }

func (r *report) extracted(d ocispec.Descriptor, n int64) { r.say(d, Extracting, min(n, d.Size)) }

func (r *report) complete(layers []ocispec.Descriptor) {
	for _, d := range layers {
		r.say(d, Complete, d.Size)
	}
}

// fetching counts what is read.
func (r *report) fetching(d ocispec.Descriptor, rc io.ReadCloser) io.ReadCloser {
	c := &counter{ReadCloser: rc, add: func(n int64) { r.say(d, Fetching, n) }}
	if s, ok := rc.(io.Seeker); ok {
		return &seekCounter{c, s}
	}
	return c
}

type counter struct {
	io.ReadCloser
	n   int64
	add func(int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if n > 0 {
		c.n += int64(n)
		c.add(c.n)
	}
	return n, err
}

// seekCounter lets the content store take up an ingest where it broke off.
type seekCounter struct {
	*counter
	io.Seeker
}

func (c *seekCounter) Seek(offset int64, whence int) (int64, error) {
	n, err := c.Seeker.Seek(offset, whence)
	if err == nil {
		c.n = n
	}
	return n, err
}
