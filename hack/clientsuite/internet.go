package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// hosts are the registries that the suite pulls from.
var hosts = []string{"ghcr.io", "registry.k8s.io"}

// internet is a proxy behind which every host that the suite knows is one
// registry on loopback, with a certificate of its own. So the suite's references
// need not be changed, and nothing leaves the machine.
type internet struct {
	proxy       net.Listener
	certificate string // the file
	roots       *x509.CertPool
	inside      chan net.Conn
}

// newInternet serves handler as every one of hosts until ctx ends.
func newInternet(ctx context.Context, handler http.Handler, certificate string) (*internet, error) {
	pair, err := certify(certificate)
	if err != nil {
		return nil, err
	}
	i := &internet{certificate: certificate, inside: make(chan net.Conn), roots: x509.NewCertPool()}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	i.roots.AddCert(leaf)
	if i.proxy, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	quiet := log.New(io.Discard, "", 0)
	front := &http.Server{Handler: http.HandlerFunc(i.connect), ErrorLog: quiet}
	behind := &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}, ErrorLog: quiet}
	go func() { _ = front.Serve(i.proxy) }()
	go func() { _ = behind.ServeTLS(tunnels{i}, "", "") }()
	context.AfterFunc(ctx, func() { _ = front.Close(); _ = behind.Close() })
	return i, nil
}

// environment is what has a program use it.
func (i *internet) environment() []string {
	return []string{"HTTPS_PROXY=http://" + i.proxy.Addr().String(), "SSL_CERT_FILE=" + i.certificate}
}

// client is an HTTP client that uses it.
func (i *internet) client() *http.Client {
	proxy := &url.URL{Scheme: "http", Host: i.proxy.Addr().String()}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: i.roots},
	}}
}

// connect answers CONNECT, whatever the host: the certificate is none for others.
func (i *internet) connect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		c.Close()
		return
	}
	i.inside <- c
}

// tunnels are the connections through the proxy, as a listener.
type tunnels struct{ *internet }

// Accept implements net.Listener.
func (t tunnels) Accept() (net.Conn, error) {
	c, ok := <-t.inside
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close implements net.Listener.
func (t tunnels) Close() error { return nil }

// Addr implements net.Listener.
func (t tunnels) Addr() net.Addr { return t.proxy.Addr() }

// certify makes a certificate for hosts and writes it to a file.
func certify(file string) (pair tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: hosts, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return pair, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(file, text, 0o644)
}
