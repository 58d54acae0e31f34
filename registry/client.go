package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

const maxRedirects = 10 // as net/http's own

// client sends requests to one endpoint and signs in to it, and to nothing
// else. oras has one too, whose cache of tokens this one uses; but it reads no
// challenge but the first, and refuses each token server in a private network.
type client struct {
	e      *endpoint
	http   *http.Client
	agent  string
	lookup lookup
	tokens cache
}

// lookup finds the credential for a repository, "" for the registry's root.
type lookup func(ctx context.Context, repo string) (Credential, error)

func newClient(e *endpoint, base http.RoundTripper, retries int, o *Options) *client {
	c := &client{
		e: e,
		http: &http.Client{
			Transport:     &retry.Transport{Base: base, Policy: func() retry.Policy { return patiently{retries} }},
			CheckRedirect: checkRedirect,
		},
		agent:  o.UserAgent,
		lookup: o.lookup(e.host),
		tokens: cache{auth.NewCache()},
	}
	if c.agent == "" {
		c.agent = "ctor"
	}
	return c
}

// Do sends a request, and once more with what the registry's challenge asks
// for. A listing that goes in circles ends here. An answer of too many requests is an error already here, since the
// header that says when to come back is lost above.
func (c *client) Do(req *http.Request) (*http.Response, error) {
	if t, ok := req.Context().Value(trailKey{}).(trail); ok {
		if err := t.step(req); err != nil {
			return nil, err
		}
	}
	resp, err := c.signed(req)
	if err == nil && isBusy(resp) {
		defer resp.Body.Close()
		return nil, failure(resp)
	}
	if err == nil && req.Method == http.MethodPut && isTaken(resp) {
		resp.StatusCode = http.StatusCreated
	}
	return resp, err
}

// isTaken reports whether a registry that has stored something says so in
// another way than the spec has it, which oras insists on.
func isTaken(resp *http.Response) bool {
	s := resp.StatusCode
	return s == http.StatusOK || s == http.StatusNoContent ||
		s == http.StatusAccepted && strings.Contains(resp.Request.URL.Path, "/manifests/")
}

func (c *client) signed(original *http.Request) (*http.Response, error) {
	rewindable(original)
	if original.Header.Get("Authorization") != "" || !sameOrigin(original.URL, c.e.url(original.URL.Scheme)) {
		return c.send(original)
	}
	ctx := original.Context()
	in := signIn{c: c, at: original.URL, repo: repositoryOf(original.URL.Path), scopes: auth.GetAllScopesForHost(ctx, original.URL.Host)}
	shown := in.known(ctx)
	resp, err := c.sendAs(original, shown)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	// A challenge from where the registry redirected to is none of ours.
	if resp.Request != nil && !sameOrigin(original.URL, resp.Request.URL) {
		return resp, nil
	}
	ch, ok := choose(resp.Header.Values("Www-Authenticate"))
	if !ok {
		ch, ok = c.challengeOfRoot(ctx, original.URL)
	}
	if !ok {
		return resp, nil
	}
	resp.Body.Close()
	// A challenge may name scopes that the request didn't: for those there may
	// be a token.
	if in.add(ch); ch.scheme == auth.SchemeBearer {
		if other := in.known(ctx); other != "" && other != shown {
			resp, err := c.sendAs(original, other)
			if err != nil || resp.StatusCode != http.StatusUnauthorized {
				return resp, err
			}
			resp.Body.Close()
		}
	}
	authorization, err := in.answer(ctx, ch)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", original.Method, original.URL, err)
	}
	return c.sendAs(original, authorization)
}

// challengeOfRoot asks at /v2/ for the challenge that a registry didn't send
// with its refusal: Nexus challenges there alone.
func (c *client) challengeOfRoot(ctx context.Context, at *url.URL) (challenge, bool) {
	root := *c.e.url(at.Scheme)
	root.Path = "/v2/"
	if at.Path == root.Path {
		return challenge{}, false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, root.String(), nil)
	if err != nil {
		return challenge{}, false
	}
	resp, err := c.send(req)
	if err != nil {
		return challenge{}, false
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || !sameOrigin(&root, resp.Request.URL) {
		return challenge{}, false
	}
	return choose(resp.Header.Values("Www-Authenticate"))
}

// sendAs sends a copy of a request with an Authorization, unless that is "".
func (c *client) sendAs(original *http.Request, authorization string) (*http.Response, error) {
	req := original.Clone(original.Context())
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if req.Body != nil && req.Body != http.NoBody && original.GetBody != nil {
		body, err := original.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	return c.send(req)
}

func (c *client) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", c.agent)
	// A digest is over the bytes as they are stored. Without this, net/http
	// would ask for gzip and undo it behind our back.
	req.Header.Set("Accept-Encoding", "identity")
	return c.http.Do(req)
}

// checkRedirect drops the credentials as soon as a chain of redirects leaves
// the origin they are for, and for good: net/http copies the headers of the
// first request to each, and drops them only for another host name, not for
// another port. What changes something goes to the registry alone: another host
// could not be asked for it without credentials, and would get what is published.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	for _, r := range append(via[1:len(via):len(via)], req) {
		if sameOrigin(via[0].URL, r.URL) {
			continue
		}
		if m := via[0].Method; m != http.MethodGet && m != http.MethodHead {
			return fmt.Errorf("the registry redirects a %s to another host, %s", m, r.URL.Host)
		}
		req.Header.Del("Authorization")
	}
	return nil
}

// sameOrigin reports whether scheme, host and port are the same.
func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// repositoryOf returns the repository that the path of a request is in, or "".
func repositoryOf(path string) string {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return ""
	}
	for _, room := range []string{"/manifests/", "/blobs/", "/tags/list", "/referrers/"} {
		if i := strings.LastIndex(rest, room); i > 0 {
			return rest[:i]
		}
	}
	return ""
}

// signIn is what one request needs of the registry's token server.
type signIn struct {
	c      *client
	at     *url.URL // where the registry was asked
	repo   string
	scopes []string
}

// account is what tokens are kept under: repositories may have credentials of
// their own.
func (s *signIn) account() string { return s.at.Host + "/" + s.repo }

func (s *signIn) key(scheme auth.Scheme) string {
	if scheme == auth.SchemeBasic {
		return ""
	}
	return strings.Join(s.scopes, " ")
}

// known returns the Authorization that worked before, or "".
func (s *signIn) known(ctx context.Context) string {
	scheme, err := s.c.tokens.GetScheme(ctx, s.account())
	if err != nil {
		return ""
	}
	token, err := s.c.tokens.GetToken(ctx, s.account(), scheme, s.key(scheme))
	if err != nil {
		return ""
	}
	return scheme.String() + " " + token
}

func (s *signIn) add(ch challenge) {
	if hint := ch.params["scope"]; hint != "" {
		s.scopes = auth.CleanScopes(append(s.scopes, strings.Split(hint, " ")...))
	}
}

// answer returns the Authorization that a challenge asks for.
func (s *signIn) answer(ctx context.Context, ch challenge) (string, error) {
	cred, err := s.c.lookup(ctx, s.repo)
	if err != nil {
		return "", &credentialError{host: s.c.e.host, err: err}
	}
	if cred.RegistryToken != "" {
		return "Bearer " + cred.RegistryToken, nil
	}
	token, err := s.c.tokens.Set(ctx, s.account(), ch.scheme, s.key(ch.scheme), func(ctx context.Context) (string, error) {
		if ch.scheme == auth.SchemeBasic {
			return basic(cred)
		}
		return s.token(ctx, ch, cred)
	})
	return ch.scheme.String() + " " + token, err
}

// cache keeps tokens. Calls that need the same one share the request for it,
// and what that says; but a call that is cancelled in the middle of it must
// not cancel the others, and oras knows such an error only when it is bare.
type cache struct{ auth.Cache }

func (c cache) Set(ctx context.Context, account string, scheme auth.Scheme, key string, fetch func(context.Context) (string, error)) (string, error) {
	return c.Cache.Set(ctx, account, scheme, key, func(ctx context.Context) (string, error) {
		token, err := fetch(ctx)
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		return token, err
	})
}

// errNoCredentials is of class ErrUnauthenticated, by errors.go.
var errNoCredentials = errors.New("no credentials")
