package distribution

import (
	"io"
	"net/http"
	"time"
)

func (c *call) getBlob() error {
	d, err := digestOf(c.last)
	if err != nil {
		return err
	}
	b, err := c.store.Blob(c.Context(), c.repo, d)
	if err != nil {
		return missing(err, codeBlobUnknown, "%s is not in %s", d, c.repo)
	}
	defer b.Close()
	c.content("application/octet-stream", c.last)
	// It answers ranges and conditions, and HEAD.
	http.ServeContent(c, c.Request, "", time.Time{}, io.NewSectionReader(b, 0, b.Size()))
	return nil
}

// content describes what is answered with, which never changes.
func (c *call) content(mediaType, digest string) {
	h := c.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Docker-Content-Digest", digest)
	h.Set("Etag", `"`+digest+`"`)
	// The type is whatever a client has said: it is nothing that a browser may run.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
}

func (c *call) deleteBlob() error {
	d, err := digestOf(c.last)
	if err != nil {
		return err
	}
	if err := c.store.DeleteBlob(c.Context(), c.repo, d); err != nil {
		return missing(err, codeBlobUnknown, "%s is not in %s", d, c.repo)
	}
	c.WriteHeader(http.StatusAccepted)
	return nil
}
