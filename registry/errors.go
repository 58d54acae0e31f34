package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/containerd/errdefs"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Error is what the methods of a Registry fail with. Its text names the
// registry, what was done, and why that failed, without credentials and
// without the query of any URL. errors.Is finds its class, which the package
// comment lists, as well as ctx's error.
type Error struct {
	Op         string    // "resolve", "fetch", "push", …
	Host       string    // the registry's, or a mirror's
	Name       string    // "repo:tag" or "repo@digest"; "" if the call concerns no single one
	StatusCode int       // of the HTTP response; 0 if there was none
	RetryAfter time.Time // of ErrRateLimited: when to ask again, as the registry says; zero if it doesn't
	Err        error     // the cause as it came; its own text may hold URLs
	Mirrors    []error   // why the mirrors that were asked first did not help

	class error
}

// Classes of errors, for errors.Is, beside those of the package comment.
var (
	// ErrUnauthorized: credentials are missing or wrong. It is the
	// ErrUnauthenticated of github.com/containerd/errdefs.
	ErrUnauthorized error = errdefs.ErrUnauthenticated

	// ErrRateLimited: too many requests. [Error].RetryAfter says when to come
	// back. Such an error is of class ErrUnavailable too.
	ErrRateLimited error = fmt.Errorf("too many requests: %w", errdefs.ErrUnavailable)

	// ErrDigest: what came is not what the digest is of. Such an error is of
	// class ErrInvalidArgument too.
	ErrDigest error = fmt.Errorf("digest mismatch: %w", errdefs.ErrInvalidArgument)
)

// refused is an answer that is an error, with the header that errcode's own
// type has no place for.
type refused struct {
	*errcode.ErrorResponse
	after time.Time
}

func (e *refused) Unwrap() error { return e.ErrorResponse }

// failure is the error that an answer is.
func failure(resp *http.Response) error {
	e := &refused{after: retryAfter(resp), ErrorResponse: &errcode.ErrorResponse{StatusCode: resp.StatusCode}}
	if resp.Request != nil {
		e.Method, e.URL = resp.Request.Method, resp.Request.URL
	}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 8<<10)).Decode(&body) == nil {
		e.Errors = body.Errors
	}
	return e
}

// Error returns a sentence such as
//
//	registry localhost:5000: resolve app:v1: not found
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "registry %s: %s", e.Host, e.Op)
	if e.Name != "" {
		b.WriteString(" " + e.Name)
	}
	b.WriteString(": " + e.reason())
	for _, m := range e.Mirrors {
		var me *Error
		if errors.As(m, &me) {
			fmt.Fprintf(&b, "; mirror %s: %s", me.Host, me.reason())
		}
	}
	return b.String()
}

// Unwrap returns the class and the cause.
func (e *Error) Unwrap() []error {
	if e.class == nil {
		return []error{e.Err}
	}
	return []error{e.class, e.Err}
}

func (e *Error) reason() string {
	s := printable(cause(e.Err))
	switch {
	case errors.Is(e.class, context.Canceled), errors.Is(e.class, context.DeadlineExceeded):
		s = e.class.Error()
	case errors.Is(e.class, errdefs.ErrUnauthenticated):
		login := "docker login"
		if e.Host != "docker.io" {
			login += " " + e.Host
		}
		s += fmt.Sprintf("; run %q or set Options.Credentials", login)
	case !e.RetryAfter.IsZero():
		s += "; ask again after " + e.RetryAfter.UTC().Format(time.DateTime) + " UTC"
	case errors.Is(e.Err, http.ErrSchemeMismatch):
		s += "; set Options.PlainHTTP if that is meant"
	}
	return s
}

func (r *Registry) failed(ctx context.Context, op, name string, err error) error {
	if err == nil {
		return nil
	}
	return newError(ctx, op, r.host, name, err)
}

func newError(ctx context.Context, op, host, name string, err error) *Error {
	e := &Error{Op: op, Host: host, Name: name, Err: err, class: class(ctx, err)}
	var r *refused
	if errors.As(err, &r) && e.class == ErrRateLimited {
		e.RetryAfter = r.after
	}
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) {
		e.StatusCode = resp.StatusCode
	} else if errors.Is(err, errdef.ErrNotFound) {
		e.StatusCode = http.StatusNotFound // oras keeps no more of it
	}
	return e
}

// class returns the class of err, or nil if it has none.
func class(ctx context.Context, err error) error {
	// A call that ended because its context did may fail in many ways, such
	// as with a closed connection. It is the context that counts.
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, c := range []struct{ is, class error }{
		{context.Canceled, context.Canceled},
		{context.DeadlineExceeded, context.DeadlineExceeded},
		{ErrDigest, ErrDigest},
		{errdefs.ErrInvalidArgument, errdefs.ErrInvalidArgument},
		{errdefs.ErrOutOfRange, errdefs.ErrOutOfRange},
		{errdefs.ErrUnauthenticated, errdefs.ErrUnauthenticated},
		{errNoCredentials, errdefs.ErrUnauthenticated},
		{errdef.ErrNotFound, errdefs.ErrNotFound},
		{errdef.ErrInvalidReference, errdefs.ErrInvalidArgument},
		{errdef.ErrInvalidDigest, errdefs.ErrInvalidArgument},
		{errdef.ErrSizeExceedsLimit, errdefs.ErrOutOfRange},
		{errdef.ErrTooManyPages, errdefs.ErrOutOfRange},
		{errdef.ErrUnsupported, errdefs.ErrNotImplemented},
	} {
		if errors.Is(err, c.is) {
			return c.class
		}
	}
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) {
		return statusClass(resp)
	}
	if isNetwork(err) {
		return errdefs.ErrUnavailable
	}
	return nil
}

// statusClass is the class of an answer. The status counts before the codes
// of the body, which say less where the registry is strict or in trouble.
func statusClass(resp *errcode.ErrorResponse) error {
	has := func(codes ...string) bool {
		return slices.ContainsFunc(resp.Errors, func(e errcode.Error) bool { return slices.Contains(codes, e.Code) })
	}
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized:
		return errdefs.ErrUnauthenticated
	case s == http.StatusForbidden:
		return errdefs.ErrPermissionDenied
	case s == http.StatusTooManyRequests:
		return ErrRateLimited
	case s == http.StatusNotImplemented:
		return errdefs.ErrNotImplemented
	case s == http.StatusRequestTimeout, s >= 500:
		return errdefs.ErrUnavailable
	case s == http.StatusNotFound, has(errcode.ErrorCodeNameUnknown, errcode.ErrorCodeManifestUnknown,
		errcode.ErrorCodeBlobUnknown, errcode.ErrorCodeManifestBlobUnknown, errcode.ErrorCodeBlobUploadUnknown):
		return errdefs.ErrNotFound
	case s == http.StatusMethodNotAllowed, has(errcode.ErrorCodeUnsupported):
		return errdefs.ErrNotImplemented
	case s == http.StatusConflict:
		return errdefs.ErrConflict
	case s == http.StatusRequestEntityTooLarge, s == http.StatusRequestedRangeNotSatisfiable:
		return errdefs.ErrOutOfRange
	case s >= 400:
		return errdefs.ErrInvalidArgument
	}
	return nil
}

// isNetwork reports whether err means that the registry can't be reached, or
// that what came from it broke off.
func isNetwork(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	return errors.As(err, &op) || errors.As(err, &dns) ||
		errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, errSlow) || errors.Is(err, errStill) || isCut(err)
}

// cause says what err means in as few words as it takes. An error of oras or
// net/http begins with the method and the whole URL, which the sentence
// around it has said better and without secrets.
func cause(err error) string {
	var cred *credentialError
	var resp *errcode.ErrorResponse
	var at *url.Error
	switch {
	case errors.As(err, &cred):
		return cred.Error()
	case errors.As(err, &resp):
		s := fmt.Sprintf("%d %s", resp.StatusCode, strings.ToLower(http.StatusText(resp.StatusCode)))
		for _, e := range resp.Errors[:min(len(resp.Errors), 3)] {
			// Not the details: they may be of any size and kind.
			s += ": " + errcode.Error{Code: e.Code, Message: e.Message}.Error()
		}
		return s
	case errors.As(err, &at):
		return cause(at.Err)
	case errors.Is(err, errNoCredentials):
		return errNoCredentials.Error()
	case errors.Is(err, errdef.ErrNotFound):
		return "not found"
	}
	return err.Error()
}

var inURL = regexp.MustCompile(`(?i)\b(https?://)[^\s"'<>]*`)

// printable makes a line of what may come from a registry: bounded, without
// control characters, and with no more of a URL than host and path.
func printable(s string) string {
	s = inURL.ReplaceAllStringFunc(s, func(raw string) string {
		scheme, rest, _ := strings.Cut(raw, "://")
		rest, _, _ = strings.Cut(rest, "?")
		rest, _, _ = strings.Cut(rest, "#")
		host, path, slash := strings.Cut(rest, "/")
		host = host[strings.LastIndexByte(host, '@')+1:]
		if slash {
			host += "/"
		}
		return scheme + "://" + host + path
	})
	if len(s) > 1<<10 {
		s = s[:1<<10] + "…"
	}
	return strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s)
}
