package distribution_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/registry/registrytest"
)

// client speaks to a registry in memory, without a library between.
type client struct {
	*testing.T
	url string
}

func dial(t *testing.T) client {
	h, err := registrytest.Handler(nil)
	require.NoError(t, err)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return client{t, srv.URL}
}

// answer is what came back.
type answer struct {
	*http.Response
	body string
}

// do sends a request with headers in pairs. A body that is not a
// *strings.Reader has no length.
func (c client) do(method, path string, body io.Reader, headers ...string) answer {
	c.Helper()
	if !strings.HasPrefix(path, "http") {
		path = c.url + path
	}
	req, err := http.NewRequestWithContext(c.Context(), method, path, body)
	require.NoError(c, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(c, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(c, err)
	return answer{resp, string(b)}
}

// want fails the test if an answer has another status, or not these words.
func (c client) want(a answer, status int, words ...string) answer {
	c.Helper()
	require.Equal(c, status, a.StatusCode, "%s %s: %s", a.Request.Method, a.Request.URL, a.body)
	for _, w := range words {
		require.Contains(c, a.body, w)
	}
	return a
}

// begin begins an upload, and gives where it is.
func (c client) begin() string {
	c.Helper()
	return c.want(c.do("POST", "/v2/app/blobs/uploads/", nil), 202).Header.Get("Location")
}

func (c client) blob(content string) string {
	c.Helper()
	d := digest.FromString(content).String()
	c.want(c.do("POST", "/v2/app/blobs/uploads/?digest="+d, strings.NewReader(content)), 201)
	return d
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// manifest is one of a blob and some annotation.
func (c client) manifest(note string) string {
	c.Helper()
	d := c.blob("{}")
	return fmt.Sprintf(`{"mediaType":%q,"config":{"mediaType":"a/b","digest":%q,"size":2},"layers":[],"annotations":{"note":%q}}`, manifestType, d, note)
}

func TestUploads(t *testing.T) {
	c := dial(t)
	d := digest.FromString("hello world").String()

	at := c.begin()
	c.want(c.do("GET", at, nil), 204)
	a := c.want(c.do("PATCH", at, strings.NewReader("hello "), "Content-Range", "0-5"), 202)
	require.Equal(t, "0-5", a.Header.Get("Range"))
	for _, r := range []string{"0-5", "7-11", "5-10", "999999999999999999-999999999999999999"} {
		a = c.want(c.do("PATCH", at, strings.NewReader("world"), "Content-Range", r), 416, "BLOB_UPLOAD_INVALID")
		require.Equal(t, "0-5", a.Header.Get("Range"))
		require.Equal(t, at, a.Header.Get("Location"))
	}
	for _, r := range []string{"6-9", "6-11", "6-5", "x", "6-", "-6", "6-99999999999999999999", "bytes=6-10"} {
		c.want(c.do("PATCH", at, strings.NewReader("world"), "Content-Range", r), 400)
	}
	c.want(c.do("PUT", at, strings.NewReader("world")), 400, "DIGEST_INVALID")
	c.want(c.do("PUT", at+"?digest=sha256:x", strings.NewReader("world")), 400, "DIGEST_INVALID")
	c.want(c.do("PUT", strings.Replace(at, "/app/", "/other/", 1)+"?digest="+d, strings.NewReader("world")), 404, "BLOB_UPLOAD_UNKNOWN")
	a = c.want(c.do("PUT", at+"?digest="+d, strings.NewReader("world"), "Content-Range", "6-10"), 201)
	require.Equal(t, "/v2/app/blobs/"+d, a.Header.Get("Location"))
	c.want(c.do("GET", a.Header.Get("Location"), nil), 200, "hello world")
	c.want(c.do("GET", at, nil), 404, "BLOB_UPLOAD_UNKNOWN")

	// More than was said, where the length of the body is not.
	at = c.begin()
	c.want(c.do("PATCH", at, struct{ io.Reader }{strings.NewReader("hello world")}, "Content-Range", "0-4"), 413, "SIZE_INVALID")
	c.want(c.do("DELETE", at, nil), 204)
	c.want(c.do("PUT", at+"?digest="+d, strings.NewReader("hello world")), 404)

	// Another digest than was said ends an upload.
	at = c.begin()
	c.want(c.do("PUT", at+"?digest="+d, strings.NewReader("hello")), 400, "DIGEST_INVALID")
	c.want(c.do("GET", at, nil), 404)
	for _, algorithm := range []digest.Algorithm{digest.SHA384, digest.SHA512} {
		d := algorithm.FromString("x").String()
		c.want(c.do("POST", "/v2/app/blobs/uploads/?digest="+d, strings.NewReader("x")), 201)
		c.want(c.do("GET", "/v2/app/blobs/"+d, nil), 200, "x")
	}
	c.want(c.do("POST", "/v2/app/blobs/uploads/?digest-algorithm=md5", nil), 400)
	c.want(c.do("POST", "/v2/app/blobs/uploads/?mount=x", nil), 400)
	c.want(c.do("POST", "/v2/app/blobs/uploads/?from=../x&mount="+d, nil), 400)
	c.want(c.do("POST", "/v2/app/blobs/uploads/?from=none&mount="+d, nil), 202)
	require.Equal(t, "GET", c.want(c.do("POST", "/v2/app/tags/list", nil), 405, "UNSUPPORTED").Header.Get("Allow"))
}

// TestCut: a client goes on where its connection broke, in chunks or with all of
// it again.
func TestCut(t *testing.T) {
	c := dial(t)
	content := strings.Repeat("0123456789", 100_000)
	d := digest.FromString(content).String()
	cut := func(method, at string) {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, at, len(content), content[:600_000])
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		// The server has seen the end when it has answered, or hung up.
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			resp.Body.Close()
		}
		conn.Close()
	}
	at := c.begin()
	cut("PATCH", at)
	a := c.want(c.do("GET", at, nil), 204)
	end, err := strconv.Atoi(strings.TrimPrefix(a.Header.Get("Range"), "0-"))
	require.NoError(t, err)
	require.Equal(t, 599_999, end)
	c.want(c.do("PATCH", at, strings.NewReader(content[end+1:]), "Content-Range", fmt.Sprintf("%d-%d", end+1, len(content)-1)), 202)
	c.want(c.do("PUT", at+"?digest="+d, nil), 201)

	at = c.begin()
	cut("PUT", at+"?digest="+d)
	c.want(c.do("PUT", at+"?digest="+d, strings.NewReader(content)), 201)
}

func TestBlobs(t *testing.T) {
	c := dial(t)
	d := c.blob("hello world")
	path := "/v2/app/blobs/" + d
	a := c.want(c.do("HEAD", path, nil), 200)
	require.Equal(t, "11", a.Header.Get("Content-Length"))
	require.Equal(t, d, a.Header.Get("Docker-Content-Digest"))
	require.Equal(t, "world", c.want(c.do("GET", path, nil, "Range", "bytes=6-"), 206).body)
	require.Equal(t, "ld", c.want(c.do("GET", path, nil, "Range", "bytes=-2"), 206).body)
	c.want(c.do("GET", path, nil, "Range", "bytes=11-"), 416)
	c.want(c.do("GET", path, nil, "Range", "bytes="+strings.Repeat("0-10,", 1000)+"0-10"), 200, "hello world")
	c.want(c.do("GET", path, nil, "If-None-Match", a.Header.Get("Etag")), 304)
	c.want(c.do("GET", "/v2/other/blobs/"+d, nil), 404, "BLOB_UNKNOWN")
	c.want(c.do("GET", "/v2/app/blobs/sha256:..%2f..%2fetc", nil), 404)
	c.want(c.do("GET", "/v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", nil), 400, "DIGEST_INVALID")
	c.want(c.do("DELETE", path, nil), 202)
	c.want(c.do("DELETE", path, nil), 404)
}

func TestManifests(t *testing.T) {
	c := dial(t)
	m := c.manifest("one")
	d := digest.FromString(m).String()
	a := c.want(c.do("PUT", "/v2/app/manifests/v1", strings.NewReader(m), "Content-Type", manifestType+"; charset=utf-8"), 201)
	require.Equal(t, d, a.Header.Get("Docker-Content-Digest"))
	a = c.want(c.do("GET", a.Header.Get("Location"), nil), 200)
	require.Equal(t, m, a.body)
	require.Equal(t, manifestType, a.Header.Get("Content-Type"))
	c.want(c.do("PUT", "/v2/app/manifests/v1", strings.NewReader(m), "Content-Type", "application/vnd.oci.image.index.v1+json"), 400, "MANIFEST_INVALID")
	c.want(c.do("PUT", "/v2/app/manifests/v1", strings.NewReader(m), "Content-Type", ";;"), 400, "MANIFEST_INVALID")
	c.want(c.do("PUT", "/v2/app/manifests/"+digest.FromString("x").String(), strings.NewReader(m)), 400, "DIGEST_INVALID")
	c.want(c.do("PUT", "/v2/app/manifests/"+strings.Repeat("v", 129), strings.NewReader(m)), 400)
	c.want(c.do("PUT", "/v2/app/manifests/v%0a1", strings.NewReader(m)), 400)
	c.want(c.do("PUT", "/v2/app/manifests/"+d+"?tag=ok&tag=../x", strings.NewReader(m)), 400)
	c.want(c.do("PUT", "/v2/app/manifests/"+d+strings.Repeat("?tag=x", 1)+strings.Repeat("&tag=x", 100), strings.NewReader(m)), 414)
	c.want(c.do("PUT", "/v2/app/manifests/v1", strings.NewReader("null")), 400, "MANIFEST_INVALID")
	c.want(c.do("PUT", "/v2/other/manifests/v1", strings.NewReader(m)), 404, "MANIFEST_BLOB_UNKNOWN")
	c.want(c.do("GET", "/v2/app/manifests/none", nil), 404, "MANIFEST_UNKNOWN")
	c.want(c.do("GET", "/v2/none/tags/list", nil), 404, "NAME_UNKNOWN")
	c.want(c.do("GET", "/v2/app/referrers/x", nil), 400, "DIGEST_INVALID")

	// A manifest has a bound, whether it says its length or not.
	big := strings.Repeat(" ", 9<<20)
	c.want(c.do("PUT", "/v2/app/manifests/big", strings.NewReader(big)), 413)
	c.want(c.do("PUT", "/v2/app/manifests/big", struct{ io.Reader }{strings.NewReader(big)}), 413)
}

func TestPages(t *testing.T) {
	c := dial(t)
	m := c.manifest("")
	for _, tag := range []string{"c", "B", "a", "_"} {
		c.want(c.do("PUT", "/v2/app/manifests/"+tag, strings.NewReader(m)), 201)
	}
	c.want(c.do("GET", "/v2/app/tags/list", nil), 200, `{"name":"app","tags":["B","_","a","c"]}`)
	a := c.want(c.do("GET", "/v2/app/tags/list?n=2", nil), 200, `["B","_"]`)
	require.Equal(t, `</v2/app/tags/list?last=_&n=2>; rel="next"`, a.Header.Get("Link"))
	a = c.want(c.do("GET", "/v2/app/tags/list?n=2&last=_", nil), 200, `["a","c"]`)
	require.Empty(t, a.Header.Get("Link"))
	c.want(c.do("GET", "/v2/app/tags/list?last=b", nil), 200, `["c"]`)
	c.want(c.do("GET", "/v2/app/tags/list?last=zzz", nil), 200, `[]`)
	a = c.want(c.do("GET", "/v2/app/tags/list?n=0", nil), 200, `[]`)
	require.Empty(t, a.Header.Get("Link"))
	for _, n := range []string{"-1", "x", "", "99999999999999999999"} {
		c.want(c.do("GET", "/v2/app/tags/list?n="+n, nil), 400)
	}
	a = c.want(c.do("GET", "/v2/_catalog?n=1", nil), 200, `{"repositories":["app"]}`)
	require.Empty(t, a.Header.Get("Link"))
}

// TestReferrersPaged: annotations are the client's, and as many as it likes.
func TestReferrersPaged(t *testing.T) {
	c := dial(t)
	subject := digest.FromString("not there yet")
	config := c.blob("{}")
	note := bytes.Repeat([]byte("x"), 1<<19)
	for i := range 10 {
		m := fmt.Sprintf(`{"config":{"mediaType":"a/%d","digest":%q,"size":2},"layers":[],"subject":{"mediaType":"a/b","digest":%q,"size":1},"annotations":{"n":"%d%s"}}`,
			i%2, config, subject, i, note)
		a := c.want(c.do("PUT", "/v2/app/manifests/"+digest.FromString(m).String(), strings.NewReader(m)), 201)
		require.Equal(t, subject.String(), a.Header.Get("OCI-Subject"))
	}
	count := func() (n, pages int) {
		for path := "/v2/app/referrers/" + subject.String(); path != ""; pages++ {
			a := c.want(c.do("GET", path, nil), 200)
			require.Less(t, len(a.body), 5<<20)
			n += strings.Count(a.body, `"digest"`)
			path = strings.TrimPrefix(strings.TrimSuffix(a.Header.Get("Link"), `>; rel="next"`), "<")
		}
		return n, pages
	}
	n, pages := count()
	require.Equal(t, 10, n)
	require.Equal(t, 2, pages)
}
