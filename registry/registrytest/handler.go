package registrytest

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"

	"github.com/ctorhq/ctor/internal/distribution"
)

// Options says what a registry is like. Nil and the zero value mean: empty,
// in memory, open to everybody.
type Options struct {
	// Username and Password are asked for by HTTP basic authentication, also
	// for reading. If both are empty no password is asked for.
	Username, Password string

	// Root is the directory that keeps what is pushed, made if it isn't
	// there; a later registry with the same Root has it too. Empty means
	// memory.
	Root string

	// TLS makes a Server speak HTTPS, with a certificate that only the
	// transport of [Server.Options] trusts. A Handler is not concerned.
	TLS bool

	// Middleware, if not nil, is put before all else, authentication too. It
	// is where a test makes the registry fail; see [Fail] and its kin.
	Middleware Middleware
}

// Handler returns a registry as a handler, for programs that serve one
// themselves: at the root of a server, since its URLs begin with /v2/. A nil o
// means the default options. An upload that is left alone is dropped after
// ten minutes.
func Handler(o *Options) (http.Handler, error) {
	h, _, err := newHandler(o)
	return h, err
}

// newHandler also returns what ends the registry's uploads.
func newHandler(o *Options) (http.Handler, io.Closer, error) {
	if o == nil {
		o = new(Options)
	}
	s, err := newStore(o.Root)
	if err != nil {
		return nil, nil, fmt.Errorf("registrytest: %w", err)
	}
	r := distribution.New(func(string) distribution.Store { return s }, nil)
	var h http.Handler = r
	if o.Username != "" || o.Password != "" {
		h = basicAuth(o.Username, o.Password, h)
	}
	if o.Middleware != nil {
		h = o.Middleware(h)
	}
	return h, r, nil
}

// basicAuth lets through who knows the password. Hashes are compared, not
// what they are of, so that not even a length is given away by the time it
// takes.
func basicAuth(username, password string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(username + "\x00" + password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(u + "\x00" + p))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
		writeError(w, http.StatusUnauthorized)
	})
}

// writeError answers as the distribution spec says a registry does.
func writeError(w http.ResponseWriter, status int) {
	code := map[int]string{
		http.StatusUnauthorized:    "UNAUTHORIZED",
		http.StatusForbidden:       "DENIED",
		http.StatusNotFound:        "MANIFEST_UNKNOWN",
		http.StatusTooManyRequests: "TOOMANYREQUESTS",
	}[status]
	if code == "" {
		code = "UNKNOWN"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"registrytest says so"}]}`, code)
}
