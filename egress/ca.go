package egress

import (
	"container/list"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// A CA is a certificate authority that lives in memory alone. A container that
// trusts it lets [Handler] and [Secret] answer TLS for any host: put
// Certificate into its trust store, and the CA into the [Source] of its
// connections. It is good for one engine: a program that trusts it can be lied to
// by this program.
type CA struct {
	der  []byte
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	leaves map[string]*list.Element // by host
	recent list.List                // of leaf, the last used first
}

type leaf struct {
	host string
	cert *tls.Certificate
}

// How long certificates are good for. A container may live long, and its clock
// may be a little wrong.
const (
	caLife    = 10 * 365 * 24 * time.Hour
	leafLife  = 90 * 24 * time.Hour
	leafRenew = 30 * 24 * time.Hour
	clockSlip = 24 * time.Hour

	// mostLeaves bounds what a container can have us keep, by asking for one
	// new name after another.
	mostLeaves = 1024
)

// NewCA makes an authority with a key of its own (ECDSA, P-256).
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("new certificate authority: %w", err)
	}
	t, err := template(pkix.Name{CommonName: "ctor egress", Organization: []string{"ctor"}}, caLife)
	if err != nil {
		return nil, fmt.Errorf("new certificate authority: %w", err)
	}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("new certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("new certificate authority: %w", err)
	}
	return &CA{der: der, cert: cert, key: key, leaves: map[string]*list.Element{}}, nil
}

// Certificate is the authority's own certificate, as PEM, for trust stores.
func (ca *CA) Certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.der})
}

func template(subject pkix.Name, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: now.Add(-clockSlip), NotAfter: now.Add(life)}, nil
}

// leaf gives a certificate for host, a name or an address.
func (ca *CA) leaf(host string) (*tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if e := ca.leaves[host]; e != nil {
		if l := e.Value.(leaf); time.Until(l.cert.Leaf.NotAfter) > leafRenew {
			ca.recent.MoveToFront(e)
			return l.cert, nil
		}
		ca.forget(e)
	}
	cert, err := ca.sign(host)
	if err != nil {
		return nil, err
	}
	ca.leaves[host] = ca.recent.PushFront(leaf{host, cert})
	if ca.recent.Len() > mostLeaves {
		ca.forget(ca.recent.Back())
	}
	return cert, nil
}

func (ca *CA) forget(e *list.Element) {
	delete(ca.leaves, ca.recent.Remove(e).(leaf).host)
}

// sign makes the certificate. The authority's key serves for it as well: both
// are in the same hands, and a key of its own would cost more than the rest.
func (ca *CA) sign(host string) (*tls.Certificate, error) {
	subject := pkix.Name{}
	if len(host) <= 64 { // the longest that X.520 allows
		subject.CommonName = host
	}
	t, err := template(subject, leafLife)
	if err != nil {
		return nil, err
	}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if ip := net.ParseIP(host); ip != nil {
		t.IPAddresses = []net.IP{ip}
	} else {
		t.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, &ca.key.PublicKey, ca.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %q: %w", host, err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %q: %w", host, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: ca.key, Leaf: parsed}, nil
}
