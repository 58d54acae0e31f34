package build

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
	"github.com/moby/buildkit/session/upload/uploadprovider"
	"github.com/moby/buildkit/source/git"
	"github.com/moby/buildkit/util/gitutil"

	ctor "github.com/ctorhq/ctor"
)

// origin is what a context is fetched from.
type origin struct {
	url    string
	remote string // of a git repository, without what chooses a part of it; "" is none
	own    *uploadprovider.Uploader
}

// newOrigin reads a URL as the frontend will.
func newOrigin(url string) (*origin, error) {
	ref, isGit, err := dfgitutil.ParseGitRef(url)
	switch {
	case isGit && err != nil:
		return nil, fmt.Errorf("context %q: %w (%w)", url, err, ctor.ErrInvalid)
	case err == nil:
		return &origin{url: url, remote: ref.Remote}, nil
	case strings.HasPrefix(url, "http://"), strings.HasPrefix(url, "https://"):
		return &origin{url: url}, nil
	}
	return nil, fmt.Errorf("context %q: neither a git repository nor an HTTP server (%w)", url, ctor.ErrInvalid)
}

// upload has the context read from r.
func (s *solving) upload(r io.Reader) {
	u := uploadprovider.New()
	s.from = &origin{url: u.Add(io.NopCloser(r)), own: u}
}

// names tells whether a request is for what the program itself has named.
func (a *origin) names(r *http.Request) bool {
	return a != nil && a.remote == "" && r.URL.String() == a.url
}

// cloned tells whether a repository is what the program itself has named.
func (a *origin) cloned(remote string) bool {
	if a == nil || a.remote == "" {
		return false
	}
	u, err := gitutil.ParseURL(remote)
	if err != nil {
		return false
	}
	return u.Remote == a.remote || strings.TrimPrefix(u.Remote, "https://") == a.remote
}

// mayClone tells what of a repository is fetched: git is a command of this host, and
// has the host's network. So a Dockerfile, or a repository, names none for it unless
// the steps have that network as well.
func (s *solving) mayClone(id *git.GitIdentifier) (*git.GitIdentifier, error) {
	if s.o.onHost() {
		return id, nil
	}
	if !s.from.cloned(id.Remote) {
		return nil, fmt.Errorf("a git repository is fetched by this host's git, by the host's network: set Options.Network to container.Host() to allow that (%w)", ctor.ErrInvalid)
	}
	alone := *id
	alone.SkipSubmodules = true
	return &alone, nil
}
