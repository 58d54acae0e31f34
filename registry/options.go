package registry

import (
	"context"
	"net/http"
	"time"
)

// Options says how to reach a registry. The zero value is right for most: it
// does what docker would on this machine.
type Options struct {
	// Credentials returns what to show to host, when the registry asks for
	// it. The host is the one given to New, or the mirror's own: a credential
	// for one host is never shown to another. A zero Credential means
	// anonymous, and an error fails the call.
	//
	// If nil, credentials are those that "docker login" or "podman login"
	// left. The first of these files with an entry for the repository, a name
	// above it or the host counts: $REGISTRY_AUTH_FILE; config.json in
	// $DOCKER_CONFIG or ~/.docker; containers/auth.json in $XDG_RUNTIME_DIR
	// (or /run/containers/UID/auth.json), and in $XDG_CONFIG_HOME or
	// ~/.config. A file's credHelpers and credsStore programs are asked where
	// it has no entry of the repository's own. No entry at all means
	// anonymous; a helper that is not there, fails, or takes over a minute is
	// an error.
	Credentials func(ctx context.Context, host string) (Credential, error)

	// PlainHTTP makes the registry speak HTTP instead of HTTPS. A loopback
	// host (localhost, 127.0.0.0/8, ::1) does so anyway where it answers no
	// TLS handshake, as with docker; a certificate that can't be verified is
	// an error there too. Mirrors are not concerned.
	PlainHTTP bool

	// Mirrors are hosts that are asked first, in this order, by Resolve and
	// Fetch, for the same repositories. One that fails, whatever the reason,
	// is passed over. A mirror is trusted to say which digest a tag has. They
	// speak HTTPS unless they are written "http://host", or are on loopback
	// and answer no TLS handshake.
	Mirrors []string

	// MirrorTimeout is how long a mirror may take to begin its answer. Zero
	// means ten seconds.
	MirrorTimeout time.Duration

	// Retries is how many times a request is sent again that failed for a
	// reason that may pass: status 408, 429 or 5xx, or a lost connection. The
	// waits between grow from a quarter of a second to three; where the
	// registry says by Retry-After how long, that counts, and a registry that
	// wants more than two minutes, or more than the context has, is not waited
	// for. It also bounds how often Fetch takes up a broken body where it
	// ended without getting on. Zero means five; negative means never. Mirrors
	// are not asked twice.
	Retries int

	// Transport makes the connections. If nil, http.DefaultTransport does,
	// with its proxies, its idle connections and its limits. Whichever it is,
	// a host that doesn't begin to answer a read within two minutes, or in the
	// middle of an answer sends nothing for half a minute, is taken to be lost.
	Transport http.RoundTripper

	// UserAgent is what the program calls itself. Empty means "ctor".
	UserAgent string
}

func (o *Options) retries() int {
	if o.Retries == 0 {
		return 5
	}
	return max(o.Retries, 0)
}

func (o *Options) mirrorTimeout() time.Duration {
	if o.MirrorTimeout > 0 {
		return o.MirrorTimeout
	}
	return 10 * time.Second
}

// patience makes connections on which a host has so long to begin an answer.
func (o *Options) patience(answer time.Duration) *patience {
	p := &patience{base: o.Transport, answer: answer, still: stillLimit}
	if p.base == nil {
		p.base = http.DefaultTransport
	}
	return p
}

// lookup finds credentials for the host's repositories.
func (o *Options) lookup(host string) lookup {
	if o.Credentials == nil {
		return func(ctx context.Context, repo string) (Credential, error) { return loginOf(ctx, host, repo) }
	}
	return func(ctx context.Context, _ string) (Credential, error) { return o.Credentials(ctx, host) }
}
