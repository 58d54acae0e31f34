package container

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// TCP holds when a server in the container takes connections on a port, on any
// address that [Container.Dial] reaches as ":port". The connection is closed at
// once; some servers note that in their log. A port that is none is
// ctor.ErrInvalid, and ends WaitReady at once.
func TCP(port int) Probe {
	return func(ctx context.Context, c *Container) error {
		if !isPort(port) {
			return &never{invalid("tcp: %d is no port", port)}
		}
		ctx, cancel := context.WithTimeout(ctx, lookLimit)
		defer cancel()
		conn, err := c.Dial(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("tcp port %d: %w", port, bare(err))
		}
		return conn.Close()
	}
}

// HTTP holds when a GET of a URL in the container is answered with one of the
// given status codes; none given means 200 to 399, as for Kubernetes. The host
// is the container: "http://:8080/healthz" and "http://localhost:8080/healthz"
// are the same to most servers. Redirects are not followed, no proxy is used,
// and of https no certificate is checked: there is nobody between. A look of
// more than 30 seconds is cut off and asked again.
//
// A URL that is none, or neither http nor https, is ctor.ErrInvalid, and ends
// WaitReady at once.
func HTTP(url string, status ...int) Probe {
	return func(ctx context.Context, c *Container) error {
		name, err := c.get(ctx, url, status)
		if err != nil {
			return fmt.Errorf("http %s: %w", name, err)
		}
		return nil
	}
}

// maxAnswer is how much of an answer is read, for errors.
const maxAnswer = 4 << 10

// get asks once. It gives the URL without a password.
func (c *Container) get(ctx context.Context, raw string, status []int) (name string, err error) {
	u, ok := target(raw)
	if !ok {
		return brief(raw), &never{invalid("it must be a URL such as http://:8080/healthz")}
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, nil)
	if err != nil {
		return u.Redacted(), &never{invalid("%v", err)}
	}
	if u.Hostname() == "" {
		req.Host = net.JoinHostPort("localhost", u.Port())
	}
	transport := &http.Transport{
		DialContext:            c.Dial,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
	}
	// One round trip: a client would follow redirects.
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return u.Redacted(), bare(err)
	}
	defer answer.Body.Close()
	if slices.Contains(status, answer.StatusCode) ||
		len(status) == 0 && answer.StatusCode >= 200 && answer.StatusCode < 400 {
		return "", nil
	}
	var text bytes.Buffer
	_, _ = io.Copy(&text, io.LimitReader(answer.Body, maxAnswer)) // what there is of it
	err = errors.New(brief(answer.Status))
	if said := brief(text.String()); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return u.Redacted(), err
}

// target reads a URL that can be asked for.
func target(raw string) (*url.URL, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, false
	}
	port, err := strconv.Atoi(u.Port())
	return u, u.Port() == "" || err == nil && isPort(port)
}

func isPort(n int) bool { return n > 0 && n < 1<<16 }

// bare is the error of a dial without what the probe says itself.
func bare(err error) error {
	var dial *netError
	if errors.As(err, &dial) {
		return dial.err
	}
	return err
}
