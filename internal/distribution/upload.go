package distribution

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// beginUpload answers POST: a session, or all of it at once where the request
// has the blob, or says which other repository has it.
func (c *call) beginUpload() error {
	q := c.URL.Query()
	if a := q.Get("digest-algorithm"); a != "" && !digest.Algorithm(a).Available() {
		return failure(http.StatusBadRequest, codeDigestInvalid, "digest algorithm %.40q is none of sha256, sha384 and sha512", a)
	}
	if q.Has("mount") {
		done, err := c.mount(q.Get("mount"), q.Get("from"))
		if done || err != nil {
			return err
		}
	}
	s, err := c.uploads.begin(c.repo)
	if err != nil {
		return err
	}
	defer c.uploads.give(s)
	if q.Has("digest") && !q.Has("mount") {
		err := c.finish(s)
		return errors.Join(err, c.uploads.end(s)) // the client doesn't know it
	}
	c.progress(s, http.StatusAccepted)
	return nil
}

// mount tells whether the blob was put into the repository. If not, the client
// may send it.
func (c *call) mount(want, from string) (bool, error) {
	d, err := digestOf(want)
	if err != nil {
		return false, err
	}
	if from != "" && (len(from) > maxRepo || !repoGrammar.MatchString(from)) {
		return false, failure(http.StatusBadRequest, codeNameInvalid, "%.80q is no name of a repository", from)
	}
	err = c.store.Mount(c.Context(), c.repo, from, d)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.created("blobs", d)
	return true, nil
}

// progress tells where a session is. The specification has no way to say that
// there are no bytes yet.
func (c *call) progress(s *upload, status int) {
	h := c.Header()
	h.Set("Location", "/v2/"+s.repo+"/blobs/uploads/"+s.id)
	h.Set("Range", fmt.Sprintf("0-%d", max(s.size()-1, 0)))
	h.Set("Docker-Upload-Uuid", s.id)
	c.WriteHeader(status)
}

func (c *call) statUpload() error {
	s, err := c.uploads.take(c.Context(), c.last, c.repo)
	if err != nil {
		return err
	}
	defer c.uploads.give(s)
	c.progress(s, http.StatusNoContent)
	return nil
}

func (c *call) cancelUpload() error {
	s, err := c.uploads.take(c.Context(), c.last, c.repo)
	if err != nil {
		return err
	}
	defer c.uploads.give(s)
	if err := c.uploads.end(s); err != nil {
		return err
	}
	c.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) patchUpload() error {
	s, err := c.uploads.take(c.Context(), c.last, c.repo)
	if err != nil {
		return err
	}
	defer c.uploads.give(s)
	if err := c.chunk(s); err != nil {
		return err
	}
	c.progress(s, http.StatusAccepted)
	return nil
}

func (c *call) endUpload() error {
	s, err := c.uploads.take(c.Context(), c.last, c.repo)
	if err != nil {
		return err
	}
	defer c.uploads.give(s)
	return c.finish(s)
}

// finish takes the last chunk, if there is one, and makes a blob of it all.
func (c *call) finish(s *upload) error {
	d, err := digestOf(c.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	before := s.size()
	if err := c.chunk(s); err != nil {
		// A blob that is sent whole is sent whole again.
		if before == 0 && s.size() > 0 {
			err = errors.Join(err, s.in.Restart())
		}
		return err
	}
	if err := c.ingest(s); err != nil { // an empty blob has had none
		return err
	}
	err = s.in.Commit(c.Context(), c.repo, d)
	if err = errors.Join(err, c.uploads.end(s)); errdefs.IsInvalidArgument(err) {
		return failure(http.StatusBadRequest, codeDigestInvalid, "the upload is not %s", d)
	}
	if err != nil {
		return err
	}
	c.created("blobs", d)
	return nil
}

// ingest makes sure that there is where bytes can go.
func (c *call) ingest(s *upload) (err error) {
	if s.in == nil {
		s.in, err = c.store.Ingest(context.WithoutCancel(c.Context()))
	}
	return err
}

// rangeGrammar is that of the specification; some clients write it as HTTP does.
var rangeGrammar = regexp.MustCompile(`^(?:bytes )?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]+|\*))?$`)

// chunk takes a request's body. What has come of one that is cut is kept: the
// client can ask how much that is.
func (c *call) chunk(s *upload) error {
	length, err := c.length(s)
	if err != nil || length == 0 {
		return err
	}
	if err := c.ingest(s); err != nil {
		return err
	}
	limit := int64(maxBlob) - s.size()
	if length > 0 {
		limit = min(limit, length)
	}
	n, err := c.receive(s.in, limit)
	if err != nil {
		return err
	}
	if length > 0 && n < length {
		return failure(http.StatusBadRequest, codeSizeInvalid, "the chunk has %d bytes, and not %d", n, length)
	}
	if more, _ := io.CopyN(io.Discard, c.Body, 1); more > 0 {
		return failure(http.StatusRequestEntityTooLarge, codeSizeInvalid, "there are more than %d bytes", n)
	}
	return nil
}

// maxBlob is how many bytes a blob may have: a terabyte.
const maxBlob = 1 << 40

// length says how long the chunk is, -1 where the request doesn't say. Its range
// has to begin where the session is.
func (c *call) length(s *upload) (int64, error) {
	length := c.ContentLength
	header := c.Request.Header.Get("Content-Range")
	if header == "" {
		return length, nil
	}
	m := rangeGrammar.FindStringSubmatch(header)
	if m == nil {
		return 0, failure(http.StatusBadRequest, codeUploadInvalid, "Content-Range %.80q is no range", header)
	}
	from, _ := strconv.ParseInt(m[1], 10, 64)
	to, _ := strconv.ParseInt(m[2], 10, 64)
	if from != s.size() {
		h := c.Header()
		h.Set("Location", "/v2/"+s.repo+"/blobs/uploads/"+s.id)
		h.Set("Range", fmt.Sprintf("0-%d", max(s.size()-1, 0)))
		return 0, failure(http.StatusRequestedRangeNotSatisfiable, codeUploadInvalid, "the chunk begins at %d, and the upload is at %d", from, s.size())
	}
	if to < from || length >= 0 && length != to-from+1 {
		return 0, failure(http.StatusBadRequest, codeSizeInvalid, "Content-Range %.80q is not that of %d bytes", header, length)
	}
	return to - from + 1, nil
}
