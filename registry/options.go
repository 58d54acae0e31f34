package registry

import (
	"context"
	"net/http"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Options says how to reach a registry. The zero value is right for most: it
// does what docker would on this machine.
type Options struct {
	// Credentials returns what to show to host, when the registry asks for
	// it. The host is the one given to New, or the mirror's own: a credential
	// for one host is never shown to another. A zero Credential means
	// anonymous, and an error fails the call.
	//
	// If nil, credentials are those that "docker login" left: the entry of
	// config.json in $DOCKER_CONFIG or ~/.docker, or what its credsStore or
	// credHelpers program says. A file that is not there means anonymous; a
	// helper that is not there, fails, or takes over a minute is an error.
	Credentials func(ctx context.Context, host string) (Credential, error)

	// PlainHTTP makes the registry speak HTTP instead of HTTPS. Loopback
	// hosts (localhost, 127.0.0.0/8, ::1) do so anyway, as with docker; write
	// "https://localhost:5000" for one with TLS. Mirrors are not concerned.
	PlainHTTP bool

	// Mirrors are hosts that are asked first, in this order, by Resolve and
	// Fetch, for the same repositories. One that fails, whatever the reason,
	// is passed over. A mirror is trusted to say which digest a tag has. They
	// speak HTTPS unless they are on loopback or written "http://host".
	Mirrors []string

	// MirrorTimeout is how long a mirror may take to begin its answer. Zero
	// means ten seconds.
	MirrorTimeout time.Duration

	// Retries is how many times a request is sent again that failed for a
	// reason that may pass: status 408, 429 or 5xx, or a lost connection. The
	// waits between grow from a quarter of a second to three. It also bounds
	// how often Fetch takes up a broken body where it ended. Zero means five;
	// negative means never. Mirrors are not asked twice.
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

// transport is what one kind of host is reached by.
type transport struct {
	base    http.RoundTripper
	retries int
}

func (o *Options) transport() *transport {
	return &transport{base: o.patience(answerLimit), retries: o.retries()}
}

func (o *Options) mirrorTransport() *transport {
	if o.MirrorTimeout > 0 {
		return &transport{base: o.patience(o.MirrorTimeout)}
	}
	return &transport{base: o.patience(10 * time.Second)}
}

// patience makes connections on which a host has so long to begin an answer.
func (o *Options) patience(answer time.Duration) *patience {
	p := &patience{base: o.Transport, answer: answer, still: stillLimit}
	if p.base == nil {
		p.base = http.DefaultTransport
	}
	return p
}

// client returns an HTTP client that signs in to e, and to nothing else.
func (t *transport) client(e *endpoint, o *Options) *auth.Client {
	policy := &retry.GenericPolicy{
		Retryable: retry.DefaultPredicate,
		Backoff:   retry.DefaultBackoff,
		MinWait:   200 * time.Millisecond,
		MaxWait:   3 * time.Second,
		MaxRetry:  t.retries,
	}
	agent := o.UserAgent
	if agent == "" {
		agent = "ctor"
	}
	return &auth.Client{
		Client: &http.Client{Transport: &retry.Transport{
			Base:   t.base,
			Policy: func() retry.Policy { return policy },
		}},
		Header: http.Header{
			"User-Agent": {agent},
			// A digest is over the bytes as they are stored. Without this,
			// net/http would ask for gzip and undo it behind our back.
			"Accept-Encoding": {"identity"},
		},
		Credential: o.credential(e),
		Cache:      cache{auth.NewCache()},
		ClientID:   "ctor",
	}
}

// cache keeps tokens. Calls that need the same one share the request for it,
// and what that says; but a call that is cancelled in the middle of it must
// not cancel the others, and oras knows such an error only when it is bare.
type cache struct{ auth.Cache }

func (c cache) Set(ctx context.Context, host string, scheme auth.Scheme, key string, fetch func(context.Context) (string, error)) (string, error) {
	return c.Cache.Set(ctx, host, scheme, key, func(ctx context.Context) (string, error) {
		token, err := fetch(ctx)
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		return token, err
	})
}

// credential adapts o.Credentials to oras. The host oras passes is the one
// the request went to, which differs from ours for Docker Hub alone.
func (o *Options) credential(e *endpoint) auth.CredentialFunc {
	lookup := o.Credentials
	if lookup == nil {
		lookup = dockerCredential
	}
	return func(ctx context.Context, _ string) (auth.Credential, error) {
		c, err := lookup(ctx, e.host)
		if err != nil {
			return auth.EmptyCredential, &credentialError{host: e.host, err: err}
		}
		return auth.Credential{
			Username:     c.Username,
			Password:     c.Password,
			RefreshToken: c.IdentityToken,
			AccessToken:  c.RegistryToken,
		}, nil
	}
}
