package registry_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry/registrytest"
)

func TestRepositoriesPaged(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	image, layer := publish(t, r, "repo000:v1")
	config, content := []byte(`{"architecture":"amd64","os":"linux"}`), fetch(t, r, "repo000", image)
	var want []string
	for i := range 150 { // a page of the server's is 100
		repo := fmt.Sprintf("repo%03d", i)
		want = append(want, repo)
		require.NoError(t, r.Push(t.Context(), repo, describe("", config), bytes.NewReader(config)))
		require.NoError(t, r.Mount(t.Context(), repo, "repo000", layer, nil))
		require.NoError(t, r.PushManifest(t.Context(), repo+":v1", image, bytes.NewReader(content)))
	}
	srv.ResetRequests()
	require.Equal(t, want, all(t, r.Repositories(t.Context())))
	require.Len(t, srv.Requests(), 2)

	// A loop that ends early asks for no more.
	srv.ResetRequests()
	for range r.Repositories(t.Context()) {
		break
	}
	require.Len(t, srv.Requests(), 1)
}

// listing answers as a registry whose pages the function makes.
func listing(page func(n int, w http.ResponseWriter) string) registrytest.Middleware {
	n := 0
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n++
			body := page(n, w)
			_, _ = w.Write([]byte(body))
		})
	}
}

// TestListsHaveEmptyPages: of repositories that the caller may not see, say.
func TestListsHaveEmptyPages(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	srv.SetMiddleware(listing(func(n int, w http.ResponseWriter) string {
		if n < 30 {
			w.Header().Set("Link", fmt.Sprintf(`</v2/app/tags/list?last=%d>; rel="next"`, n))
		}
		if n%10 == 0 {
			return fmt.Sprintf(`{"tags":["t%d"]}`, n)
		}
		return `{"tags":null}`
	}))
	require.Equal(t, []string{"t10", "t20", "t30"}, all(t, open(t, srv).Tags(t.Context(), "app")))
}

func TestListsEnd(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	next := func(w http.ResponseWriter) { w.Header().Set("Link", `</v2/app/tags/list?last=a>; rel="next"`) }
	for name, page := range map[string]func(int, http.ResponseWriter) string{
		"same page":  func(_ int, w http.ResponseWriter) string { next(w); return `{"tags":["a","b"]}` },
		"round trip": func(n int, w http.ResponseWriter) string { next(w); return fmt.Sprintf(`{"tags":["t%d"]}`, n%7) },
		"other link, same page": func(n int, w http.ResponseWriter) string {
			w.Header().Set("Link", fmt.Sprintf(`</v2/app/tags/list?last=%d>; rel="next"`, n))
			return `{"tags":["a","b"]}`
		},
		"empty pages": func(_ int, w http.ResponseWriter) string { next(w); return `{"tags":null}` },
	} {
		t.Run(name, func(t *testing.T) {
			srv.SetMiddleware(listing(page))
			srv.ResetRequests()
			_, err := last(r.Tags(t.Context(), "app"))
			require.ErrorIs(t, err, errdefs.ErrOutOfRange)
			require.ErrorContains(t, err, "registry "+srv.Host+": list tags of app: the registry's list has no end")
			require.LessOrEqual(t, len(srv.Requests()), 8)
		})
	}
	t.Run("large page", func(t *testing.T) {
		srv.SetMiddleware(listing(func(_ int, w http.ResponseWriter) string {
			return `{"tags":["` + strings.Repeat("x", 33<<20) + `"]}`
		}))
		n, err := last(r.Tags(t.Context(), "app"))
		require.Error(t, err)
		require.Zero(t, n)
	})
	t.Run("elsewhere", func(t *testing.T) {
		asked := false
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
		t.Cleanup(other.Close)
		srv.SetMiddleware(listing(func(_ int, w http.ResponseWriter) string {
			w.Header().Set("Link", "<"+other.URL+`/v2/?token=s3cret>; rel="next"`)
			return `{"tags":["a"]}`
		}))
		n, err := last(r.Tags(t.Context(), "app"))
		require.ErrorContains(t, err, "not the same origin")
		require.NotContains(t, err.Error(), "s3cret")
		require.Equal(t, 1, n)
		require.False(t, asked)
	})
}

// TestListsAreChecked: what is no name is left out, and the rest is there.
func TestListsAreChecked(t *testing.T) {
	srv := registrytest.NewServer(t, nil)
	r := open(t, srv)
	for _, name := range []string{"../../etc", "a b", "", "a@b", `\u001b[2J`, `a\nb`, `a\n`, "a:b", "v1@" + digest.FromString("x").String()} {
		srv.SetMiddleware(answer(http.StatusOK, "application/json", fmt.Sprintf(`{"tags":["%s","good"],"repositories":["good","%[1]s"]}`, name)))
		require.Equal(t, []string{"good"}, all(t, r.Tags(t.Context(), "app")), name)
		require.Equal(t, []string{"good"}, all(t, r.Repositories(t.Context())), name)
	}
	srv.SetMiddleware(answer(http.StatusOK, "text/html", `<html>`))
	_, err := last(r.Tags(t.Context(), "app"))
	require.ErrorContains(t, err, "failed to decode response")
	srv.SetMiddleware(answer(http.StatusOK, "application/json", `{"name":"app","tags":null}`))
	require.Empty(t, all(t, r.Tags(t.Context(), "app")))
}
