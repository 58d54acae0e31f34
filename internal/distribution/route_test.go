package distribution

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoutes(t *testing.T) {
	d := "sha256:" + strings.Repeat("a", 64)
	for path, want := range map[string]route{
		"/v2":                                  {},
		"/v2/":                                 {},
		"/v2/_catalog":                         {kind: catalog},
		"/v2/app/tags/list":                    {tags, "app", ""},
		"/v2/tags/list/tags/list":              {tags, "tags/list", ""},
		"/v2/app/manifests/v1":                 {manifests, "app", "v1"},
		"/v2/app/manifests/" + d:               {manifests, "app", d},
		"/v2/manifests/manifests/manifests":    {manifests, "manifests", "manifests"},
		"/v2/tags/manifests/list":              {manifests, "tags", "list"},
		"/v2/app/blobs/" + d:                   {blobs, "app", d},
		"/v2/blobs/uploads/blobs/" + d:         {blobs, "blobs/uploads", d},
		"/v2/app/blobs/uploads/":               {newUpload, "app", ""},
		"/v2/app/blobs/uploads":                {newUpload, "app", ""},
		"/v2/blobs/uploads/blobs/uploads/":     {newUpload, "blobs/uploads", ""},
		"/v2/app/blobs/uploads/ID":             {oneUpload, "app", "ID"},
		"/v2/app/blobs/blobs/uploads/ID":       {oneUpload, "app/blobs", "ID"},
		"/v2/a/b/c/referrers/" + d:             {referrers, "a/b/c", d},
		"/v2/a__b/c---d/e.f/manifests/V_1.2-x": {manifests, "a__b/c---d/e.f", "V_1.2-x"},
	} {
		got, err := parse(path)
		require.NoError(t, err, path)
		require.Equal(t, want, got, path)
	}
	for path, status := range map[string]int{
		"/": 404, "": 404, "/v1/": 404, "/v2/app": 404, "/v2//": 404, "/v2/app/": 404, "/v22/": 404,
		"/v2/../etc/manifests/passwd":                      400,
		"/v2/a/../b/tags/list":                             400,
		"/v2//manifests/v1":                                400,
		"/v2/manifests/v1":                                 400,
		"/v2/App/manifests/v1":                             400,
		"/v2/a b/manifests/v1":                             400,
		"/v2/a\n/manifests/v1":                             400,
		"/v2/a\x00/manifests/v1":                           400,
		"/v2/a:b/manifests/v1":                             400,
		"/v2/a..b/manifests/v1":                            400,
		"/v2/-a/manifests/v1":                              400,
		"/v2/a/blobs/blobs/uploads/x/y/":                   404,
		"/v2/" + strings.Repeat("a/", 200) + "a/tags/list": 400,
	} {
		_, err := parse(path)
		var r *refusal
		require.ErrorAs(t, err, &r, path)
		require.Equal(t, status, r.status, path)
	}
}
