package distribution

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// kind is what a request is about.
type kind int

const (
	base kind = iota
	catalog
	tags
	referrers
	manifests
	blobs
	newUpload
	oneUpload
)

// route is a request's path.
type route struct {
	kind kind
	repo string
	last string // tag, digest, or the upload's id
}

// The grammars of the specification. Many clients take no more than 255 bytes
// for host and repository together.
var (
	repoGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

const maxRepo = 255

// parse reads a path from its end: a repository may be called "tags/list" or
// "blobs/uploads".
func parse(path string) (route, error) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	switch {
	case path == "/v2" || rest == "" && ok:
		return route{}, nil
	case !ok:
		return route{}, failure(http.StatusNotFound, codeUnsupported, "nothing but /v2/ is served here")
	case rest == "_catalog":
		return route{kind: catalog}, nil
	}
	r := split(rest)
	if r.kind == base {
		return r, failure(http.StatusNotFound, codeUnsupported, "no such endpoint")
	}
	if len(r.repo) > maxRepo || !repoGrammar.MatchString(r.repo) {
		return r, failure(http.StatusBadRequest, codeNameInvalid, "%.80q is no name of a repository", r.repo)
	}
	return r, nil
}

func split(path string) route {
	dir, last := cutLast(path)
	repo, word := cutLast(dir)
	up, above := cutLast(repo)
	switch {
	case word == "tags" && last == "list":
		return route{kind: tags, repo: repo}
	case word == "manifests":
		return route{kind: manifests, repo: repo, last: last}
	case word == "referrers":
		return route{kind: referrers, repo: repo, last: last}
	case above == "blobs" && word == "uploads" && last == "":
		return route{kind: newUpload, repo: up}
	case above == "blobs" && word == "uploads":
		return route{kind: oneUpload, repo: up, last: last}
	case word == "blobs" && last == "uploads":
		return route{kind: newUpload, repo: repo}
	case word == "blobs":
		return route{kind: blobs, repo: repo, last: last}
	}
	return route{}
}

func cutLast(path string) (before, last string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// digestOf reads a digest of a client's. Algorithms are those that are linked:
// sha256, sha384 and sha512.
func digestOf(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if len(s) > 200 || d.Validate() != nil {
		return "", failure(http.StatusBadRequest, codeDigestInvalid, "%.80q is no digest of sha256, sha384 or sha512", s)
	}
	return d, nil
}
