// Package reference reads image references the way Docker does: what a user
// types ("alpine", "user/app:v1", "localhost:5000/x@sha256:…") becomes the one
// full name the image is stored and published under.
//
// The grammar is that of [github.com/distribution/reference]; this package
// adds a plain struct, one class of error, and the reverse way.
package reference

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// DockerHub is the host of a reference that names none.
const DockerHub = "docker.io"

// maxLength bounds what is parsed at all, so that a hostile string costs no
// regular expression: 255 for the name, 128 for the tag, 135 for the longest
// digest, and a generous host.
const maxLength = 1024

// Reference is the full name of an image. Parse makes one; its fields are
// normalised and never empty where they are required.
type Reference struct {
	Host       string        // "docker.io", "localhost:5000"
	Repository string        // "library/alpine": always without the host
	Tag        string        // "latest"; "" only when Digest is set
	Digest     digest.Digest // "" when the reference names no digest
}

// Parse reads s. A missing host means Docker Hub, a missing namespace there
// means "library", and a missing tag means "latest" unless there is a digest.
// A tag beside a digest is kept, though only the digest identifies the image.
//
// The error is of class [errdefs.ErrInvalidArgument].
func Parse(s string) (Reference, error) {
	if s == "" {
		return Reference{}, invalid(s, "it is empty")
	}
	if len(s) > maxLength {
		return Reference{}, invalid(s[:32]+"…", fmt.Sprintf("longer than %d bytes", maxLength))
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, invalid(s, reason(err))
	}
	r := Reference{Host: reference.Domain(named), Repository: reference.Path(named)}
	if d, ok := named.(reference.Digested); ok {
		r.Digest = d.Digest()
	}
	if t, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
		r.Tag = t.Tag()
	}
	return r, nil
}

// ParseOn reads s as a name on the registry at host: either a full reference
// that begins with that host, or one without a host. Unlike Parse, it never
// takes the first component of "user/app" or "app" for Docker Hub's.
func ParseOn(host, s string) (Reference, error) {
	if strings.HasPrefix(s, host+"/") {
		return Parse(s)
	}
	if first, _, ok := strings.Cut(s, "/"); ok && looksLikeHost(first) {
		return Reference{}, invalid(s, "it is not on "+host)
	}
	r, err := Parse(host + "/" + s)
	if err == nil && r.Host != host {
		return Reference{}, invalid(s, host+" is not a registry's host")
	}
	return r, err
}

// Repository reads the name of a repository on the registry at host, which is
// taken as it is: "docker.io/library/alpine" on "localhost:5000" is a
// repository of that registry. Only on Docker Hub does "alpine" mean
// "library/alpine". Tag and Digest of the result are empty.
func Repository(host, name string) (Reference, error) {
	r, err := Parse(host + "/" + name)
	if err != nil {
		return Reference{}, err
	}
	if r.Host != host || strings.ContainsAny(name, ":@") {
		return Reference{}, invalid(name, "want the name of a repository, without tag and digest")
	}
	r.Tag = ""
	return r, nil
}

// Host checks the name of a registry and normalises it: Docker Hub's old name
// "index.docker.io" is "docker.io". What cannot begin a reference, such as a
// bare "registry" without dot or port, is no host.
func Host(s string) (string, error) {
	// A repository no default is applied to, so that only the host is judged.
	r, err := Parse(s + "/x/x")
	if err != nil || r.Repository != "x/x" || len(s) > 255+len(":65535") {
		return "", fmt.Errorf("registry %q: invalid host: want host or host:port, where a host has a dot or a port or is localhost: %w",
			s, errdefs.ErrInvalidArgument)
	}
	return r.Host, nil
}

// String returns the full name, as Parse reads it back:
// "docker.io/library/alpine:latest".
func (r Reference) String() string {
	return r.Host + "/" + r.Repository + r.suffix(false)
}

// Name returns the repository and what is asked of it, without the host:
// "library/alpine:latest", or the digest alone where both are given.
func (r Reference) Name() string {
	return r.Repository + r.suffix(true)
}

func (r Reference) suffix(one bool) string {
	var s string
	if r.Tag != "" && (r.Digest == "" || !one) {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// looksLikeHost is Docker's rule for telling "ghcr.io/app" from "user/app".
func looksLikeHost(s string) bool {
	return s == "localhost" || strings.ContainsAny(s, ".:")
}

func invalid(s, why string) error {
	return fmt.Errorf("reference %q: invalid format: %s: %w", s, why, errdefs.ErrInvalidArgument)
}

// reason says in our words what the parser found, since its errors repeat the
// input or the words "invalid reference format".
func reason(err error) string {
	s := strings.TrimPrefix(err.Error(), reference.ErrReferenceInvalidFormat.Error()+": ")
	if s == reference.ErrReferenceInvalidFormat.Error() {
		return "want [host[:port]/]name[:tag][@digest]"
	}
	return s
}
