package ready

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

// Dial connects to an address, as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// TCP looks whether a server takes connections on a port.
func TCP(ctx context.Context, dial Dial, port int) error {
	if !isPort(port) {
		return invalid("tcp: %d is no port", port)
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	conn, err := dial(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("tcp port %d: %w", port, err)
	}
	return conn.Close()
}

// maxAnswer is how much of an answer is read, for errors.
const maxAnswer = 4 << 10

// HTTP looks whether a GET of a URL is answered with one of the given status codes;
// none given means 200 to 399. Errors name the URL without its password.
func HTTP(ctx context.Context, dial Dial, raw string, status []int) error {
	u, ok := target(raw)
	if !ok {
		return invalid("http %s: it must be a URL such as http://:8080/healthz", Brief(raw))
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	if err := get(ctx, dial, raw, u, status); err != nil {
		return fmt.Errorf("http %s: %w", u.Redacted(), err)
	}
	return nil
}

func get(ctx context.Context, dial Dial, raw string, u *url.URL, status []int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, nil)
	if err != nil {
		return invalid("%v", err)
	}
	if u.Hostname() == "" {
		req.Host = net.JoinHostPort("localhost", u.Port())
	}
	transport := &http.Transport{
		DialContext:            dial,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
	}
	// One round trip: a client would follow redirects.
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if slices.Contains(status, answer.StatusCode) ||
		len(status) == 0 && answer.StatusCode >= 200 && answer.StatusCode < 400 {
		return nil
	}
	var text bytes.Buffer
	_, _ = io.Copy(&text, io.LimitReader(answer.Body, maxAnswer)) // what there is of it
	err = errors.New(Brief(answer.Status))
	if said := Brief(text.String()); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return err
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
