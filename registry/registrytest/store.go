package registrytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/ctorhq/ctor/internal/distribution"
)

// store is what a registry keeps: its repositories, and content that they share.
type store struct {
	content content
	file    string // where repos are written, "" if nowhere

	mu    sync.RWMutex
	repos map[string]*repository
}

// repository is what one repository has. Its fields are what the file says.
type repository struct {
	Manifests map[digest.Digest]manifest
	Tags      map[string]digest.Digest
	Blobs     map[digest.Digest]bool
}

// manifest is what is known of one without reading it.
type manifest struct {
	MediaType string
	Subject   digest.Digest
}

// newStore makes a store in a directory, or in memory if root is "".
func newStore(root string) (*store, error) {
	s := &store{repos: map[string]*repository{}, content: newMemory()}
	if root == "" {
		return s, nil
	}
	var err error
	if s.content, err = newDirectory(root); err != nil {
		return nil, err
	}
	s.file = filepath.Join(root, "repositories.json")
	b, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s.repos)
	}
	return s, err
}

// save writes down what repositories there are.
func (s *store) save() error {
	if s.file == "" {
		return nil
	}
	b, err := json.Marshal(s.repos)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(s.file+".new", s.file)
}

// in gives a repository, and makes it where there is none.
func (s *store) in(repo string) *repository {
	r := s.repos[repo]
	if r == nil {
		r = &repository{map[digest.Digest]manifest{}, map[string]digest.Digest{}, map[digest.Digest]bool{}}
		s.repos[repo] = r
	}
	return r
}

// digest finds what a tag or a digest means.
func (r *repository) digest(ref string) (digest.Digest, bool) {
	d, ok := digest.Digest(ref), true
	if d.Validate() != nil {
		d, ok = r.Tags[ref]
	}
	return d, ok && r.lists(d)
}

func (r *repository) lists(d digest.Digest) bool {
	_, ok := r.Manifests[d]
	return ok
}

func (r *repository) has(d digest.Digest) bool { return r.Blobs[d] || r.lists(d) }

// free removes content that no repository has any more.
func (s *store) free(d digest.Digest) error {
	for _, r := range s.repos {
		if r.has(d) {
			return nil
		}
	}
	return s.content.remove(d)
}

func notFound(what any) error { return fmt.Errorf("%v: %w", what, errdefs.ErrNotFound) }

// Repositories implements distribution.Store.
func (s *store) Repositories(context.Context) (list []string, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, r := range s.repos {
		if len(r.Manifests) > 0 {
			list = append(list, name)
		}
	}
	return list, nil
}

// Tags implements distribution.Store.
func (s *store) Tags(_ context.Context, repo string) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.repos[repo]
	if r == nil {
		return nil, notFound(repo)
	}
	return slices.Collect(maps.Keys(r.Tags)), nil
}

// Manifest implements distribution.Store.
func (s *store) Manifest(_ context.Context, repo, ref string) (distribution.Manifest, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r := s.repos[repo]; r != nil {
		if d, ok := r.digest(ref); ok {
			return s.manifest(d, r.Manifests[d].MediaType)
		}
	}
	return distribution.Manifest{}, notFound(ref)
}

func (s *store) manifest(d digest.Digest, mediaType string) (m distribution.Manifest, err error) {
	b, err := s.content.open(d)
	if err != nil {
		return m, err
	}
	defer b.Close()
	m = distribution.Manifest{MediaType: mediaType, Digest: d, Body: make([]byte, b.Size())}
	_, err = b.ReadAt(m.Body, 0)
	return m, err
}

// PutManifest implements distribution.Store.
func (s *store) PutManifest(_ context.Context, repo string, m distribution.Manifest, tags []string) error {
	doc, err := distribution.Parse(m.Body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.in(repo)
	for _, b := range doc.Blobs {
		if !r.has(b.Digest) && !distribution.Elsewhere(b) {
			return distribution.Missing{Digest: b.Digest}
		}
	}
	for _, b := range doc.Manifests {
		if !r.lists(b.Digest) {
			return distribution.Missing{Digest: b.Digest}
		}
	}
	if err := s.write(m); err != nil {
		return err
	}
	kept := manifest{MediaType: m.MediaType}
	if doc.Subject != nil {
		kept.Subject = doc.Subject.Digest
	}
	r.Manifests[m.Digest] = kept
	for _, t := range tags {
		r.Tags[t] = m.Digest
	}
	return s.save()
}

func (s *store) write(m distribution.Manifest) error {
	w, err := s.content.begin()
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.Write(m.Body); err != nil {
		return err
	}
	return w.keep(m.Digest)
}

// DeleteManifest implements distribution.Store.
func (s *store) DeleteManifest(_ context.Context, repo, ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[repo]
	if r == nil {
		return notFound(repo)
	}
	d, ok := r.digest(ref)
	switch {
	case !ok:
		return notFound(ref)
	case ref != d.String():
		delete(r.Tags, ref)
		return s.save()
	}
	delete(r.Manifests, d)
	maps.DeleteFunc(r.Tags, func(_ string, of digest.Digest) bool { return of == d })
	return errors.Join(s.free(d), s.save())
}

// Referrers implements distribution.Store.
func (s *store) Referrers(_ context.Context, repo string, subject digest.Digest) (list []distribution.Manifest, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.repos[repo]
	if r == nil {
		return nil, nil
	}
	for d, kept := range r.Manifests {
		if kept.Subject != subject {
			continue
		}
		m, err := s.manifest(d, kept.MediaType)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// Blob implements distribution.Store.
func (s *store) Blob(_ context.Context, repo string, d digest.Digest) (distribution.Blob, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r := s.repos[repo]; r == nil || !r.has(d) {
		return nil, notFound(d)
	}
	return s.content.open(d)
}

// DeleteBlob implements distribution.Store.
func (s *store) DeleteBlob(_ context.Context, repo string, d digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[repo]
	if r == nil || !r.Blobs[d] {
		return notFound(d)
	}
	delete(r.Blobs, d)
	return errors.Join(s.free(d), s.save())
}

// Mount implements distribution.Store.
func (s *store) Mount(_ context.Context, repo, from string, d digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, r := range s.repos {
		if (from == "" || from == name) && r.has(d) {
			s.in(repo).Blobs[d] = true
			return s.save()
		}
	}
	return notFound(d)
}

// Ingest implements distribution.Store.
func (s *store) Ingest(context.Context) (distribution.Ingest, error) {
	w, err := s.content.begin()
	if err != nil {
		return nil, err
	}
	return &ingest{w, s}, nil
}

type ingest struct {
	draft
	store *store
}

// Commit implements distribution.Ingest.
func (i *ingest) Commit(_ context.Context, repo string, d digest.Digest) error {
	defer i.Close()
	if same, err := i.is(d); err != nil {
		return err
	} else if !same {
		return fmt.Errorf("the content is not %s: %w", d, errdefs.ErrInvalidArgument)
	}
	i.store.mu.Lock()
	defer i.store.mu.Unlock()
	if err := i.keep(d); err != nil {
		return err
	}
	i.store.in(repo).Blobs[d] = true
	return i.store.save()
}
