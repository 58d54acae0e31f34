package egress

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Secret lets a container use a value that it must not know. The container is
// given placeholder, such as an environment variable with a word that stands for
// the token. In requests to host, and to no other, each placeholder becomes value
// on its way out: in the path, the query, the headers (inside Basic credentials
// too) and the body. In the answers each value becomes placeholder again.
//
//	egress.Secret(egress.Allow("api.github.com:443"), "api.github.com", "GITHUB-TOKEN", token)
//
// Connections to host are answered in this program as [Handler] does it, and
// each has its own connections to host, made by d and, where the container spoke
// TLS, verified by the program's trusted roots. Whatever else the container
// reaches is d's alone, and sees the placeholder.
//
// So that no answer can carry the value past us, host is asked for no
// compression and no byte ranges, an answer that is compressed all the same
// becomes 502 Bad Gateway, and a protocol upgrade (WebSocket) is refused with 501
// Not Implemented. A host that gives the value back in a form of its own,
// encrypted or in pieces, can't be prevented: a secret is for a host that keeps it.
// Plain HTTP carries the value in the clear; let d allow port 443 alone where that
// must not be.
//
// A placeholder should be a word that occurs nowhere else. An empty one, an
// empty value, or a host that is no name or address refuses every connection;
// [Check] finds that before.
func Secret(d Dialer, host, placeholder, value string) Dialer {
	rule, err := parse(host)
	switch {
	case err != nil:
	case rule.port != 0 || rule.name == "" && !rule.prefix.IsSingleIP():
		err = malformed(host, "a secret is for one host, without a port")
	case placeholder == "" || value == "":
		err = malformed(host, "a secret needs a placeholder and a value")
	}
	s := &secret{next: d, host: rule, err: err, placeholder: placeholder, value: value}
	s.server = newServer(s)
	return s.dial
}

type secret struct {
	next               Dialer
	host               rule
	err                error // what is wrong with it
	placeholder, value string
	server             *server
}

func (s *secret) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if q := asked(ctx, s.err, s.next); q != nil {
		q.answers, q.forwards = true, q.below[0].forwards
		return nil, errAsked
	}
	switch {
	case s.err != nil:
		return nil, s.err
	case !s.host.matches(address):
		return s.next(ctx, network, address)
	case !isTCP(network):
		return nil, refused(network, address, "a host with a Secret is reached by TCP alone")
	}
	return s.server.serve(ctx, network, address)
}

// ServeHTTP passes a request on.
func (s *secret) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := connOf(r)
	if h := hostname(r.Host); h != "" && !strings.EqualFold(strings.TrimSuffix(h, "."), strings.TrimSuffix(c.host(), ".")) {
		http.Error(w, "this connection is to "+c.host(), http.StatusMisdirectedRequest)
		return
	}
	if r.Method == http.MethodConnect || r.Header.Get("Upgrade") != "" {
		http.Error(w, "no protocol can be changed to where a secret is put in", http.StatusNotImplemented)
		return
	}
	back := s.back()
	proxy := httputil.ReverseProxy{
		Transport:     c.upstream(s.next),
		FlushInterval: -1, // a stream of events is one for the container too
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite:       func(p *httputil.ProxyRequest) { back = append(back, s.out(p, c)...) },
		ModifyResponse: func(resp *http.Response) error {
			return s.in(resp, sorted(back))
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, replace(err.Error(), sorted(back)), http.StatusBadGateway)
		},
	}
	proxy.ServeHTTP(&early{w, func() []swap { return sorted(back) }}, r)
}

// early takes the value out of headers that come before the answer's own
// (RFC 9110, section 15.2), which ReverseProxy passes on without asking.
type early struct {
	http.ResponseWriter
	back func() []swap
}

func (e *early) WriteHeader(code int) {
	if code < http.StatusOK {
		swapAll(e.Header(), e.back())
	}
	e.ResponseWriter.WriteHeader(code)
}

// Unwrap gives what can be flushed.
func (e *early) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func hostname(hostport string) string {
	return (&url.URL{Host: hostport}).Hostname()
}

// back is what becomes the placeholder again: the value, and the forms that a
// server shows it in which got it in a query, a path or JSON.
func (s *secret) back() []swap {
	all := []swap{{s.value, s.placeholder}, {url.QueryEscape(s.value), s.placeholder}, {url.PathEscape(s.value), s.placeholder}}
	if quoted, err := json.Marshal(s.value); err == nil {
		all = append(all, swap{string(quoted[1 : len(quoted)-1]), s.placeholder})
	}
	return all
}

// out puts the value into what is sent. It gives what to take out of the answer
// besides.
func (s *secret) out(p *httputil.ProxyRequest, c *answered) (back []swap) {
	in, out := p.In, p.Out
	out.URL.Scheme = "http"
	if c.secure {
		out.URL.Scheme = "https"
	}
	out.URL.Host, out.Host = c.address, in.Host
	out.URL.RawQuery = replace(in.URL.RawQuery, []swap{{s.placeholder, url.QueryEscape(s.value)}})
	out.URL.Path = replace(in.URL.Path, []swap{{s.placeholder, s.value}})
	out.URL.RawPath = replace(in.URL.EscapedPath(), []swap{{s.placeholder, url.PathEscape(s.value)}})

	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := in.Header[name]; ok { // ReverseProxy took it for a client's lie
			out.Header[name] = v
		}
	}
	there := []swap{{s.placeholder, s.value}}
	for name, values := range out.Header {
		for i, v := range values {
			put := replace(v, there)
			if name == "Authorization" || name == "Proxy-Authorization" {
				if basic, ok := replaceBasic(v, there); ok {
					put = basic
					back = append(back, swap{basic[len("Basic "):], strings.TrimSpace(v[len("Basic "):])})
				}
			}
			out.Header[name][i] = put
		}
	}
	for _, name := range []string{"Accept-Encoding", "Range", "If-Range"} {
		out.Header.Del(name)
	}
	s.body(out, there)
	return back
}

// replaceBasic swaps inside HTTP's Basic credentials (RFC 7617).
func replaceBasic(header string, all []swap) (string, bool) {
	const scheme = "Basic "
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(header[len(scheme):]))
	if err != nil {
		return "", false
	}
	put := replace(string(plain), all)
	if put == string(plain) {
		return "", false
	}
	return scheme + base64.StdEncoding.EncodeToString([]byte(put)), true
}

// wholeBody is up to how many bytes a body is read before it is sent, so that
// its length can be told: some servers take no other. It may grow by some when
// the secret is put in. A longer one is sent in chunks, and so is one that comes
// while many others wait.
const (
	wholeBody = 1 << 20
	growth    = 16 << 10
)

// wholeBodies bounds what of bodies is held in this program.
var wholeBodies = semaphore.NewWeighted(16 << 20)

func (s *secret) body(out *http.Request, there []swap) {
	if out.Body == nil || out.Body == http.NoBody || out.ContentLength == 0 {
		return
	}
	body, room := newSwapping(out.Body, there), out.ContentLength+growth
	if out.ContentLength < 0 || out.ContentLength > wholeBody || !wholeBodies.TryAcquire(room) {
		chunked(out, body)
		return
	}
	body = &held{body, sync.OnceFunc(func() { wholeBodies.Release(room) })}
	whole, err := io.ReadAll(io.LimitReader(body, room))
	switch {
	case err != nil:
		body.Close()
		chunked(out, io.NopCloser(failing{err}))
	case int64(len(whole)) == room:
		chunked(out, behind{io.MultiReader(bytes.NewReader(whole), body), body})
	default:
		out.ContentLength = int64(len(whole))
		out.Header.Set("Content-Length", fmt.Sprint(len(whole)))
		out.Body = behind{bytes.NewReader(whole), body}
	}
}

// chunked sends a body without its length.
func chunked(out *http.Request, body io.ReadCloser) {
	out.Body, out.ContentLength = body, -1
	out.Header.Del("Content-Length")
}

// held is a body that has taken room.
type held struct {
	io.ReadCloser
	leave func()
}

func (h *held) Close() error {
	h.leave()
	return h.ReadCloser.Close()
}

// behind is read from one place and closed at another.
type behind struct {
	io.Reader
	io.Closer
}

// failing is a body whose source broke off.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// in takes the value out of what is received.
func (s *secret) in(resp *http.Response, back []swap) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return errors.New("the host changed the protocol unasked")
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return fmt.Errorf("the host compressed its answer unasked (%s), so the secret could not be looked for", e)
	}
	swapAll(resp.Header, back)
	resp.Body = &trailing{newSwapping(resp.Body, back), resp, back}
	if resp.Request.Method != http.MethodHead && resp.ContentLength != 0 {
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	}
	return nil
}

func swapAll(h http.Header, all []swap) {
	for _, values := range h {
		for i, v := range values {
			values[i] = replace(v, all)
		}
	}
}

// trailing is a body behind which trailers come.
type trailing struct {
	io.ReadCloser
	resp *http.Response
	back []swap
}

func (t *trailing) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err == io.EOF {
		swapAll(t.resp.Trailer, t.back)
	}
	return n, err
}
