package distribution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// code is an error's identifier in the specification.
type code string

const (
	codeBlobUnknown         code = "BLOB_UNKNOWN"
	codeUploadInvalid       code = "BLOB_UPLOAD_INVALID"
	codeUploadUnknown       code = "BLOB_UPLOAD_UNKNOWN"
	codeDigestInvalid       code = "DIGEST_INVALID"
	codeManifestBlobUnknown code = "MANIFEST_BLOB_UNKNOWN"
	codeManifestInvalid     code = "MANIFEST_INVALID"
	codeManifestUnknown     code = "MANIFEST_UNKNOWN"
	codeNameInvalid         code = "NAME_INVALID"
	codeNameUnknown         code = "NAME_UNKNOWN"
	codeSizeInvalid         code = "SIZE_INVALID"
	codeUnsupported         code = "UNSUPPORTED"
	codeTooManyRequests     code = "TOOMANYREQUESTS"
	codeUnknown             code = "UNKNOWN" // not the specification's, but every client's
)

// refusal is an error with its answer.
type refusal struct {
	status  int
	code    code
	message string
}

func (r *refusal) Error() string { return r.message }

func failure(status int, c code, format string, arg ...any) error {
	return &refusal{status, c, fmt.Sprintf(format, arg...)}
}

// Missing is what a manifest lists and its repository hasn't.
type Missing struct{ Digest digest.Digest }

// Error implements error.
func (m Missing) Error() string { return fmt.Sprintf("%s is not in the repository", m.Digest) }

// errGone is that a client doesn't listen any more.
var errGone = errors.New("the client is gone")

// gone is the error of writing an answer.
func gone(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// missing says what it is that the store hasn't.
func missing(err error, c code, format string, arg ...any) error {
	if errdefs.IsNotFound(err) {
		return failure(http.StatusNotFound, c, format, arg...)
	}
	return err
}

// fail answers with an error.
func (c *call) fail(err error) {
	if errors.Is(err, errGone) {
		return
	}
	r := refuse(err)
	if r.status >= http.StatusInternalServerError && c.Context().Err() == nil {
		c.log.ErrorContext(c.Context(), "registry", "method", c.Method, "path", c.URL.Path, "error", err)
	}
	h := c.Header()
	for _, name := range []string{"Content-Length", "Content-Range", "Etag"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/json")
	c.WriteHeader(r.status)
	type one struct {
		Code    code   `json:"code"`
		Message string `json:"message"`
	}
	_ = json.NewEncoder(c).Encode(map[string][]one{"errors": {{r.code, r.message}}})
}

// refuse gives an error its answer. What the store says of itself, such as the
// names of files, is for the log alone.
func refuse(err error) *refusal {
	var r *refusal
	var m Missing
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &m):
		return &refusal{http.StatusNotFound, codeManifestBlobUnknown, m.Error()}
	case errdefs.IsFailedPrecondition(err):
		return &refusal{http.StatusMethodNotAllowed, codeUnsupported, err.Error()}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &refusal{http.StatusInsufficientStorage, codeUnknown, "there is no space left"}
	case errdefs.IsResourceExhausted(err):
		return &refusal{http.StatusTooManyRequests, codeTooManyRequests, err.Error()}
	case errdefs.IsNotFound(err):
		return &refusal{http.StatusNotFound, codeUnknown, "not found"}
	case errdefs.IsUnavailable(err), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &refusal{http.StatusServiceUnavailable, codeUnknown, "the registry is not available"}
	}
	return &refusal{http.StatusInternalServerError, codeUnknown, "the registry has failed"}
}
