package image

import (
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Phase is how far a layer has come.
type Phase string

// The phases of a layer, in their order, in which some may be left out. One
// whose content was there already goes from Waiting to Exists.
const (
	Waiting    Phase = "waiting"
	Fetching   Phase = "fetching"
	Fetched    Phase = "fetched"
	Extracting Phase = "extracting"
	Complete   Phase = "complete" // the last
	Exists     Phase = "exists"   // the last
)

var phases = []Phase{Waiting, Fetching, Fetched, Extracting, Complete}

// Progress is the state of one layer. A layer that an image lists twice is one.
type Progress struct {
	Layer digest.Digest // of the blob
	Phase Phase
	Bytes int64 // fetched, or sent; when Extracting, extracted of the compressed layer
	Total int64 // bytes of the compressed layer
}

// report passes progress on, and lets nothing go backwards.
type report struct {
	mu   sync.Mutex
	to   func(Progress) // nil: no reports
	last map[digest.Digest]Progress
}

func newReport(to func(Progress)) *report {
	return &report{to: to, last: map[digest.Digest]Progress{}}
}

func (r *report) say(d ocispec.Descriptor, phase Phase, n int64) {
	if r.to == nil {
		return
	}
	p := Progress{d.Digest, phase, n, d.Size}
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.last[d.Digest]; ok && !follows(p, last) {
		return
	}
	r.last[d.Digest] = p
	r.to(p)
}

// follows tells whether p is news after last.
func follows(p, last Progress) bool {
	switch {
	case last.Phase == Exists:
		return false
	case p.Phase == Exists:
		return last.Phase == Waiting
	case p.Phase == Extracting && (slices.Contains(phases[:2], last.Phase)):
		return false // what is extracted while it arrives is told of when it is there
	case p.Phase == last.Phase:
		return p.Bytes > last.Bytes
	}
	return slices.Index(phases, p.Phase) > slices.Index(phases, last.Phase)
}

func (r *report) extracted(d ocispec.Descriptor, n int64) { r.say(d, Extracting, min(n, d.Size)) }

func (r *report) complete(layers ...ocispec.Descriptor) {
	for _, d := range layers {
		r.say(d, Complete, d.Size)
	}
}

// countAt reports how far it has been read.
func (r *report) countAt(d ocispec.Descriptor, ra io.ReaderAt) io.ReaderAt {
	return readerAt(func(p []byte, off int64) (int, error) {
		n, err := ra.ReadAt(p, off)
		if n > 0 {
			r.say(d, Fetching, min(off+int64(n), d.Size))
		}
		return n, err
	})
}

type readerAt func([]byte, int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }
