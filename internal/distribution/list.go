package distribution

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func (c *call) tags() error {
	list, err := c.store.Tags(c.Context(), c.repo)
	if err != nil {
		return missing(err, codeNameUnknown, "there is no repository %s", c.repo)
	}
	page, err := c.page(list, len(list))
	if err != nil {
		return err
	}
	return c.json("application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{c.repo, page})
}

// catalogPage is how many repositories are listed at once, unless a client asks
// for another number.
const catalogPage = 100

// repositories lists all, as Docker's registries do; it is not in OCI's
// specification.
func (c *call) repositories() error {
	list, err := c.store.Repositories(c.Context())
	if err != nil {
		return err
	}
	page, err := c.page(list, catalogPage)
	if err != nil {
		return err
	}
	return c.json("application/json", map[string][]string{"repositories": page})
}

// page gives the part of a list that is asked for, of n entries if the client
// doesn't say how many, and links to the next.
func (c *call) page(list []string, n int) ([]string, error) {
	slices.Sort(list)
	list = slices.Compact(list)
	q := c.URL.Query()
	if q.Has("last") {
		at, found := slices.BinarySearch(list, q.Get("last"))
		if found {
			at++
		}
		list = list[at:]
	}
	if q.Has("n") {
		var err error
		if n, err = strconv.Atoi(q.Get("n")); err != nil || n < 0 {
			return nil, failure(http.StatusBadRequest, codeUnsupported, "n=%.20q is no number of entries", q.Get("n"))
		}
	}
	if n < len(list) {
		if list = list[:n]; n > 0 {
			c.next("last", list[n-1])
		}
	}
	if list == nil {
		list = []string{} // null is no list
	}
	return list, nil
}

// next links to the page after the entry that is the last of this one.
func (c *call) next(key, last string) {
	q := c.URL.Query()
	q.Set(key, last)
	u := url.URL{Path: c.URL.Path, RawQuery: q.Encode()}
	c.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, u.String()))
}

func (c *call) json(mediaType string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.Header().Set("Content-Type", mediaType)
	c.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, err = c.Write(b)
	return gone(err)
}

// Bounds on one page of referrers. Their annotations are the client's.
const (
	maxReferrers      = 1000
	maxReferrersBytes = 4 << 20
)

func (c *call) referrers() error {
	subject, err := digestOf(c.last)
	if err != nil {
		return err
	}
	list, err := c.store.Referrers(c.Context(), c.repo, subject)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b Manifest) int { return cmp.Compare(a.Digest, b.Digest) })
	q := c.URL.Query()
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	index.SchemaVersion = 2
	size := 0
	for _, m := range list {
		if q.Has("last") && m.Digest.String() <= q.Get("last") {
			continue
		}
		doc, err := Parse(m.Body)
		if err != nil {
			continue
		}
		d := m.Descriptor()
		if d.ArtifactType, d.Annotations = doc.ArtifactType, doc.Annotations; q.Get("artifactType") != "" && q.Get("artifactType") != d.ArtifactType {
			continue
		}
		size += len(m.Body) // more than the entry is
		if n := len(index.Manifests); n == maxReferrers || n > 0 && size > maxReferrersBytes {
			c.next("last", index.Manifests[n-1].Digest.String())
			break
		}
		index.Manifests = append(index.Manifests, d)
	}
	if q.Get("artifactType") != "" {
		c.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return c.json(ocispec.MediaTypeImageIndex, index)
}
