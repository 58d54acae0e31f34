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
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/fixture"
)

// Where the two hosts are on loopback.
const (
	githubVar   = "SANDBOX_TEST_GITHUB"
	packagesVar = "SANDBOX_TEST_PACKAGES"
)

// token is known to GitHub and to the user of the program alone.
const token = "ghp_a-token-that-never-enters"

// TestMain plays the part of the two hosts, and of a program that runs in a
// terminal.
func TestMain(m *testing.M) {
	fixture.RunProgram(map[string]func([]string) error{"sandbox": program})
	code, err := withHosts(m.Run)
	if err != nil {
		panic(err)
	}
	os.Exit(code)
}

// program is main with the two hosts as its internet.
func program(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := sandbox{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, internet: internet, token: token}
	os.Exit(s.run(ctx, args))
	return nil
}

// internet leads to the two hosts, as egress.Public does.
func internet(ctx context.Context, network, address string) (net.Conn, error) {
	return egress.Mux{
		"api.github.com:443":        at(os.Getenv(githubVar)),
		"dl-cdn.alpinelinux.org:80": at(os.Getenv(packagesVar)),
	}.Dial(ctx, network, address)
}

func at(address string) egress.Dialer {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

func withHosts(run func() int) (int, error) {
	certificate, err := selfSigned("api.github.com")
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "sandbox")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
		return 0, err
	}
	os.Setenv("SSL_CERT_FILE", roots) // this program trusts it as it trusts GitHub

	github := httptest.NewUnstartedServer(http.HandlerFunc(user))
	github.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	github.StartTLS()
	defer github.Close()
	packages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "package "+r.URL.Path+"\n")
	}))
	defer packages.Close()
	os.Setenv(githubVar, github.Listener.Addr().String())
	os.Setenv(packagesVar, packages.Listener.Addr().String())
	return run(), nil
}

// user tells who a token belongs to, and the token.
func user(w http.ResponseWriter, r *http.Request) {
	if _, password, _ := r.BasicAuth(); password != token {
		http.Error(w, "bad credentials", http.StatusUnauthorized)
		return
	}
	_, _ = io.WriteString(w, "you are the owner of "+token+"\n")
}

func selfSigned(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
