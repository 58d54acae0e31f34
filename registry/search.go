package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ctorhq/ctor/internal/reference"
)

// SearchResult is a repository that Search found.
type SearchResult struct {
	Name        string // for use with the other methods: "alpine", "team/app"
	Description string // one line; "" but on Docker Hub
	Stars       int    // of Docker Hub's users
	Official    bool   // one that Docker itself sees to
}

// maxSearch bounds the pages of a search, of a hundred results each.
const maxSearch = 100

// Search lists the repositories that go by a term: on Docker Hub what its
// search finds, the best first, without credentials and so without what is
// private; elsewhere those of the catalog that have the term in their name,
// whatever the case, see [Registry.Repositories]. It asks for a page when the
// loop gets there. An error ends it and is the last thing it yields.
func (r *Registry) Search(ctx context.Context, term string) iter.Seq2[SearchResult, error] {
	if r.host == reference.DockerHub {
		return r.searchHub(ctx, term)
	}
	return func(yield func(SearchResult, error) bool) {
		for name, err := range r.Repositories(ctx) {
			if err == nil && !strings.Contains(strings.ToLower(name), strings.ToLower(term)) {
				continue
			}
			if !yield(SearchResult{Name: name}, err) {
				return
			}
		}
	}
}

func (r *Registry) searchHub(ctx context.Context, term string) iter.Seq2[SearchResult, error] {
	return func(yield func(SearchResult, error) bool) {
		for page := 1; page <= maxSearch; page++ {
			found, pages, err := r.searchPage(ctx, term, page)
			if err != nil {
				yield(SearchResult{}, r.failed(ctx, "search for", term, err))
				return
			}
			for _, f := range found {
				if _, err := r.repository(f.Name); err == nil && !yield(f, nil) {
					return
				}
			}
			if len(found) == 0 || page >= pages {
				return
			}
		}
	}
}

// searchPage asks the API that "docker search" asks.
func (r *Registry) searchPage(ctx context.Context, term string, page int) ([]SearchResult, int, error) {
	q := url.Values{"q": {term}, "n": {"100"}, "page": {strconv.Itoa(page)}}
	u := url.URL{Scheme: r.origin.speaks(ctx), Host: "index.docker.io", Path: "/v1/search", RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := r.origin.client.send(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, 0, failure(resp)
	}
	var answer struct {
		Pages   int `json:"num_pages"`
		Results []struct {
			Name        string `json:"name"`
			Description string `json:"description"`
			Stars       int    `json:"star_count"`
			Official    bool   `json:"is_official"`
		} `json:"results"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxManifest)).Decode(&answer); err != nil {
		return nil, 0, fmt.Errorf("the search's answer: %w", err)
	}
	var found []SearchResult
	for _, f := range answer.Results {
		found = append(found, SearchResult{f.Name, printable(strings.Join(strings.Fields(f.Description), " ")), f.Stars, f.Official})
	}
	return found, answer.Pages, nil
}
