package build

import (
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/contenthash"
	"github.com/moby/buildkit/cache/metadata"
)

// forgetHashes has BuildKit forget the checksums of a builder's files. It remembers
// some for all builders of the program, by names that are the same when the same root
// is opened again, and would write to the database that was closed
// (cache/contenthash/checksum.go, v0.34.2).
func forgetHashes(md *metadata.Store) error {
	items, err := md.All()
	if err != nil {
		return err
	}
	for _, i := range items {
		contenthash.ClearCacheContext(called{id: i.ID()})
	}
	return nil
}

// called is a snapshot of which the name is known.
type called struct {
	cache.RefMetadata
	id string
}

func (c called) ID() string { return c.id }
