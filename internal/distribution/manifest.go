package distribution

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// maxTags is how many a manifest may be given at once.
const maxTags = 100

// reference checks what a manifest is asked for by: a tag or a digest.
func (c *call) reference() (tag string, d digest.Digest, err error) {
	if strings.Contains(c.last, ":") {
		d, err = digestOf(c.last)
		return "", d, err
	}
	return c.last, "", checkTag(c.last)
}

func checkTag(tag string) error {
	if !tagGrammar.MatchString(tag) {
		return failure(http.StatusBadRequest, codeManifestInvalid, "%.80q is no tag", tag)
	}
	return nil
}

func (c *call) getManifest() error {
	if _, _, err := c.reference(); err != nil {
		return err
	}
	m, err := c.store.Manifest(c.Context(), c.repo, c.last)
	if err != nil {
		return missing(err, codeManifestUnknown, "%s is not in %s", c.last, c.repo)
	}
	c.content(m.MediaType, m.Digest.String())
	http.ServeContent(c, c.Request, "", time.Time{}, bytes.NewReader(m.Body))
	return nil
}

func (c *call) putManifest() error {
	tag, want, err := c.reference()
	if err != nil {
		return err
	}
	tags := c.URL.Query()["tag"]
	if tag != "" {
		tags = []string{tag}
	}
	if len(tags) > maxTags {
		return failure(http.StatusRequestURITooLong, codeManifestInvalid, "%d tags, more than %d", len(tags), maxTags)
	}
	for _, t := range tags {
		if err := checkTag(t); err != nil {
			return err
		}
	}
	m, doc, err := c.manifest(want)
	if err != nil {
		return err
	}
	err = c.store.PutManifest(c.Context(), c.repo, m, tags)
	if errdefs.IsInvalidArgument(err) {
		return failure(http.StatusBadRequest, codeManifestInvalid, "%v", err)
	}
	if err != nil {
		return err
	}
	h := c.Header()
	if doc.Subject != nil {
		h.Set("OCI-Subject", doc.Subject.Digest.String())
	}
	if want != "" {
		for _, t := range tags {
			h.Add("OCI-Tag", t)
		}
	}
	c.created("manifests", m.Digest)
	return nil
}

// created answers that something is there now.
func (c *call) created(what string, d digest.Digest) {
	h := c.Header()
	h.Set("Location", "/v2/"+c.repo+"/"+what+"/"+d.String())
	h.Set("Docker-Content-Digest", d.String())
	c.WriteHeader(http.StatusCreated)
}

// manifest reads the manifest that a client sends.
func (c *call) manifest(want digest.Digest) (m Manifest, doc *Document, err error) {
	if c.ContentLength > MaxManifest {
		return m, nil, tooLarge()
	}
	var body bytes.Buffer
	if _, err := c.receive(&body, MaxManifest+1); err != nil {
		return m, nil, err
	}
	if body.Len() > MaxManifest {
		return m, nil, tooLarge()
	}
	m = Manifest{Body: body.Bytes()}
	algorithm := digest.Canonical
	if want != "" {
		algorithm = want.Algorithm()
	}
	m.Digest = algorithm.FromBytes(m.Body)
	if want != "" && want != m.Digest {
		return m, nil, failure(http.StatusBadRequest, codeDigestInvalid, "the manifest is %s", m.Digest)
	}
	if doc, err = Parse(m.Body); err != nil {
		return m, nil, failure(http.StatusBadRequest, codeManifestInvalid, "%v", err)
	}
	m.MediaType, err = c.mediaType(doc)
	return m, doc, err
}

func tooLarge() error {
	return failure(http.StatusRequestEntityTooLarge, codeManifestInvalid, "the manifest has more than %d bytes", MaxManifest)
}

// mediaType is a manifest's type by its header, which may not contradict what
// the manifest says.
func (c *call) mediaType(doc *Document) (string, error) {
	s := c.Request.Header.Get("Content-Type")
	if s == "" {
		return doc.Type(), nil
	}
	t, _, err := mime.ParseMediaType(s)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || len(t) > maxType {
		return "", failure(http.StatusBadRequest, codeManifestInvalid, "Content-Type %.80q is no media type", s)
	}
	// Media types have no case, and what a client compares must be what it sent.
	if first, _, _ := strings.Cut(s, ";"); strings.EqualFold(strings.TrimSpace(first), t) {
		t = strings.TrimSpace(first)
	}
	if doc.MediaType != "" && doc.MediaType != t {
		return "", failure(http.StatusBadRequest, codeManifestInvalid, "Content-Type is %.80q, but the manifest says %.80q", t, doc.MediaType)
	}
	return t, nil
}

func (c *call) deleteManifest() error {
	if _, _, err := c.reference(); err != nil {
		return err
	}
	if err := c.store.DeleteManifest(c.Context(), c.repo, c.last); err != nil {
		return missing(err, codeManifestUnknown, "%s is not in %s", c.last, c.repo)
	}
	c.WriteHeader(http.StatusAccepted)
	return nil
}
