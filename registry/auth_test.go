package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

func as(c registry.Credential) func(context.Context, string) (registry.Credential, error) {
	return func(context.Context, string) (registry.Credential, error) { return c, nil }
}

func TestCredentials(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	image, _ := publish(t, open(t, srv), "app:v1")

	for _, tt := range []struct {
		name string
		cred registry.Credential
		want string
	}{
		{"right", registry.Credential{Username: "alice", Password: "s3cret"}, ""},
		{"wrong", registry.Credential{Username: "alice", Password: "guess"},
			`registry HOST: ping: 401 unauthorized: unauthorized: registrytest says so; run "docker login HOST" or set Options.Credentials`},
		{"none", registry.Credential{},
			`registry HOST: ping: no credentials; run "docker login HOST" or set Options.Credentials`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := registry.New(srv.Host, &registry.Options{Credentials: as(tt.cred)})
			require.NoError(t, err)
			err = r.Ping(t.Context())
			if tt.want == "" {
				require.NoError(t, err)
				got, err := r.Resolve(t.Context(), "app:v1")
				require.NoError(t, err)
				require.Equal(t, image, got)
				return
			}
			require.ErrorIs(t, err, errdefs.ErrUnauthenticated)
			require.EqualError(t, err, strings.ReplaceAll(tt.want, "HOST", srv.Host))
			require.NotContains(t, err.Error(), "guess")
		})
	}
}

func TestCredentialsFail(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	broken := errors.New("vault is sealed")
	r, err := registry.New(srv.Host, &registry.Options{
		Credentials: func(context.Context, string) (registry.Credential, error) { return registry.Credential{}, broken },
	})
	require.NoError(t, err)
	err = r.Ping(t.Context())
	require.ErrorIs(t, err, broken)
	require.EqualError(t, err, fmt.Sprintf("registry %[1]s: ping: credentials for %[1]s: vault is sealed", srv.Host))
}

// TestCredentialIsNotPrinted: not by any verb, not by the loggers.
func TestCredentialIsNotPrinted(t *testing.T) {
	c := registry.Credential{Username: "alice", Password: "s3cret-p", IdentityToken: "s3cret-i", RegistryToken: "s3cret-r"}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", struct{ C registry.Credential }{c})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "c", c, "p", &c, "s", struct{ C registry.Credential }{c})
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", c, "p", &c, "s", struct{ C registry.Credential }{c})
	b, err := json.Marshal(c)
	require.NoError(t, err)
	out.Write(b)
	require.NotContains(t, out.String(), "s3cret")
	require.Contains(t, out.String(), "user alice")
	require.NotContains(t, out.String(), fmt.Sprintf("%x", "s3cret"))
	require.Equal(t, "token", registry.Credential{IdentityToken: "x"}.String())
	require.Equal(t, "anonymous", registry.Credential{}.String())
}

// headers records the Authorization of requests, by "METHOD path".
type headers struct {
	mu   sync.Mutex
	seen []string
}

func (h *headers) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "" {
			h.mu.Lock()
			h.seen = append(h.seen, a)
			h.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

func (h *headers) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// TestRedirectKeepsCredentials: a blob store on another host, or only on
// another port, gets no Authorization, and neither does its challenge get one.
func TestRedirectKeepsCredentials(t *testing.T) {
	content := []byte("the layer of app")
	var elsewhere headers
	challenge := false
	store := httptest.NewServer(elsewhere.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if challenge {
			w.Header().Set("WWW-Authenticate", `Basic realm="give me"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(content)
	})))
	t.Cleanup(store.Close)

	srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
	r := open(t, srv)
	_, layer := publish(t, r, "app:v1")
	srv.SetMiddleware(registrytest.On(registrytest.Blobs, func(http.Handler) http.Handler {
		return http.RedirectHandler(store.URL+"/blob?signature=s3cret-signature", http.StatusTemporaryRedirect)
	}))
	require.Equal(t, string(content), string(fetch(t, r, "app", layer)))
	require.Empty(t, elsewhere.all())

	challenge = true
	_, err := r.Fetch(t.Context(), "app", layer)
	require.ErrorIs(t, err, errdefs.ErrUnauthenticated)
	require.NotContains(t, err.Error(), "s3cret")
	require.Empty(t, elsewhere.all())
}

// tokenServer is a token server as the distribution project describes it.
func tokenServer(t *testing.T, h *headers, status int) *httptest.Server {
	srv := httptest.NewServer(h.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"token":%q}`, "for "+strings.Join(r.URL.Query()["scope"], " "))
	})))
	t.Cleanup(srv.Close)
	return srv
}

// bearer asks for a token of the server at realm.
func bearer(realm string, h *headers) registrytest.Middleware {
	return func(next http.Handler) http.Handler {
		return h.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="test"`, realm))
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		}))
	}
}

func TestToken(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	publish(t, open(t, srv), "app:v1")
	var atToken, atRegistry headers
	token := tokenServer(t, &atToken, http.StatusOK)
	srv.SetMiddleware(bearer(token.URL, &atRegistry))

	r, err := registry.New(srv.Host, &registry.Options{Credentials: as(registry.Credential{Username: "alice", Password: "s3cret"})})
	require.NoError(t, err)
	for range 2 {
		_, err = r.Resolve(t.Context(), "app:v1")
		require.NoError(t, err)
	}
	require.Len(t, atToken.all(), 1) // and the token is kept
	require.Contains(t, atToken.all()[0], "Basic ")
	for _, a := range atRegistry.all() {
		require.Equal(t, "Bearer for repository:app:pull", a)
	}

	// A token at hand goes to the registry, and nobody is asked for another.
	r, err = registry.New(srv.Host, &registry.Options{Credentials: as(registry.Credential{RegistryToken: "mine"})})
	require.NoError(t, err)
	require.NoError(t, r.Ping(t.Context()))
	require.Len(t, atToken.all(), 1)
	require.Equal(t, "Bearer mine", atRegistry.all()[len(atRegistry.all())-1])
}

// TestTokenIsShared: one call that gives up while it gets the token that
// another waits for does not make that one give up.
func TestTokenIsShared(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	publish(t, open(t, srv), "app:v1")
	var atToken, atRegistry headers
	token := tokenServer(t, &atToken, http.StatusOK)
	asked := make(chan struct{}, 2)
	slow := httptest.NewServer(registrytest.Middleware(func(next http.Handler) http.Handler {
		first := make(chan struct{}, 1)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			select {
			case first <- struct{}{}:
				<-r.Context().Done()
			default:
				next.ServeHTTP(w, r)
			}
		})
	})(token.Config.Handler))
	t.Cleanup(slow.Close)
	challenged := make(chan struct{}, 10)
	srv.SetMiddleware(func(next http.Handler) http.Handler {
		next = bearer(slow.URL, &atRegistry)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			challenged <- struct{}{}
		})
	})
	r := open(t, srv)

	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error), make(chan error)
	resolve := func(ctx context.Context, done chan error) {
		_, err := r.Resolve(ctx, "app:v1")
		done <- err
	}
	go resolve(ctx, first)
	<-challenged
	<-asked
	go resolve(t.Context(), second)
	<-challenged
	cancel()
	require.ErrorIs(t, <-first, context.Canceled)
	require.NoError(t, <-second)
}

func TestTokenRefused(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	var atToken, atRegistry headers
	srv.SetMiddleware(bearer(tokenServer(t, &atToken, http.StatusUnauthorized).URL, &atRegistry))
	r, err := registry.New(srv.Host, &registry.Options{Credentials: as(registry.Credential{Username: "alice", Password: "s3cret"})})
	require.NoError(t, err)
	err = r.Ping(t.Context())
	require.ErrorIs(t, err, errdefs.ErrUnauthenticated)
	require.NotContains(t, err.Error(), "s3cret")
	require.Empty(t, atRegistry.all())
}

// TestTokenServerInTheClear: a registry that spoke HTTPS can't have the
// password sent in plain HTTP, nor to a host inside this network.
func TestTokenServerInTheClear(t *testing.T) {
	srv := registrytest.NewServer(t, &registrytest.Options{TLS: true})
	var atToken, atRegistry headers
	token := tokenServer(t, &atToken, http.StatusOK)
	o := srv.Options()
	o.Retries = never
	o.Credentials = as(registry.Credential{Username: "alice", Password: "s3cret"})
	for _, realm := range []string{token.URL + "/?key=s3cret-key", "https://169.254.169.254/token", "https://10.0.0.1/token", "file:///etc/passwd"} {
		srv.SetMiddleware(bearer(realm, &atRegistry))
		r, err := registry.New(srv.URL, o)
		require.NoError(t, err)
		err = r.Ping(t.Context())
		require.ErrorContains(t, err, "realm")
		require.NotContains(t, err.Error(), "s3cret")
	}
	require.Empty(t, atToken.all())
}

// TestUploadElsewhere: a registry can't have a blob and its credentials sent
// to another host, wherever it says so.
func TestUploadElsewhere(t *testing.T) {
	var elsewhere headers
	asked := false
	other := httptest.NewServer(elsewhere.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = true
		w.Header().Set("WWW-Authenticate", `Basic realm="give me"`)
		w.WriteHeader(http.StatusUnauthorized)
	})))
	t.Cleanup(other.Close)
	there := other.URL + "/upload?token=s3cret"
	for name, c := range map[string]struct {
		method string
		answer http.HandlerFunc
		says   string
	}{
		"location": {http.MethodPost, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", there)
			w.WriteHeader(http.StatusAccepted)
		}, "different host"},
		"redirect of the start": {http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, there, http.StatusTemporaryRedirect)
		}, "redirect"},
		"redirect of the bytes": {http.MethodPut, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, there, http.StatusPermanentRedirect)
		}, "redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.NewServer(t, &registrytest.Options{Username: "alice", Password: "s3cret"})
			r := open(t, srv)
			require.NoError(t, r.Ping(t.Context()))
			srv.SetMiddleware(registrytest.On(func(r *http.Request) bool { return r.Method == c.method }, func(http.Handler) http.Handler { return c.answer }))
			err := r.Push(t.Context(), "app", describe(ocispec.MediaTypeImageLayer, []byte("x")), strings.NewReader("x"))
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "s3cret")
			require.Empty(t, elsewhere.all())
			require.False(t, asked)
		})
	}
}

// TestChallenges: whatever a registry offers beside it, or where, the password
// is shown.
func TestChallenges(t *testing.T) {
	for name, heads := range map[string][]string{
		"two headers": {"Negotiate", `Basic realm="x"`},
		"one header":  {`Negotiate, Basic realm="x"`},
		"at /v2/":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			srv := registrytest.NewServer(t, nil)
			image, layer := publish(t, open(t, srv), "app:v1")
			srv.SetMiddleware(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if u, p, _ := r.BasicAuth(); u == "alice" && p == "s3cret" {
						next.ServeHTTP(w, r)
						return
					}
					w.Header()["Www-Authenticate"] = heads
					if heads == nil && r.URL.Path == "/v2/" {
						w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
					}
					w.WriteHeader(http.StatusUnauthorized)
				})
			})
			r, err := registry.New(srv.Host, &registry.Options{Credentials: as(registry.Credential{Username: "alice", Password: "s3cret"})})
			require.NoError(t, err)
			got, err := r.Resolve(t.Context(), "app:v1")
			require.NoError(t, err)
			require.Equal(t, image, got)
			fetch(t, r, "app", layer)
			blob := []byte("more")
			require.NoError(t, r.Push(t.Context(), "app", describe("", blob), strings.NewReader("more")))

			r, err = registry.New(srv.Host, &registry.Options{Credentials: as(registry.Credential{Username: "alice", Password: "guess"})})
			require.NoError(t, err)
			_, err = r.Resolve(t.Context(), "app:v1")
			require.ErrorIs(t, err, registry.ErrUnauthorized)
		})
	}
}

// TestTokenServerElsewhere is GitLab at home: both have private addresses. It
// is also how a registry would have the token asked for where it likes, so the
// server can't send it on, and gets nothing but what is its own.
func TestTokenServerElsewhere(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	publish(t, open(t, srv), "app:v1")
	_, port, err := net.SplitHostPort(srv.Host)
	require.NoError(t, err)
	here := &http.Transport{DialContext: func(ctx context.Context, n, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, n, srv.Host)
	}}
	answer := func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"token":"tok"}`)) }
	srv.SetMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/jwt/auth":
				answer(w, r)
			case r.Header.Get("Authorization") == "Bearer tok":
				next.ServeHTTP(w, r)
			default:
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://10.1.2.3:`+port+`/jwt/auth",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
	})
	resolve := func(c registry.Credential) error {
		r, err := registry.New("10.1.2.4:"+port, &registry.Options{PlainHTTP: true, Transport: here, Credentials: as(c), Retries: never})
		require.NoError(t, err)
		_, err = r.Resolve(t.Context(), "app:v1")
		return err
	}
	require.NoError(t, resolve(registry.Credential{Username: "u", Password: "p"}))
	require.NoError(t, resolve(registry.Credential{RegistryToken: "tok"}))
	require.NoError(t, resolve(registry.Credential{IdentityToken: "refresh"}))

	answer = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusTemporaryRedirect)
	}
	require.ErrorContains(t, resolve(registry.Credential{Username: "u", Password: "p"}), "169.254.169.254")
	answer = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://10.1.2.5:"+port+"/jwt/auth", http.StatusTemporaryRedirect)
	}
	require.ErrorContains(t, resolve(registry.Credential{IdentityToken: "refresh"}), "another host")
}
