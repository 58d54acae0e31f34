package egress_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/ctorhq/ctor/egress"
)

// A way out that reaches two hosts: one as it is, one in this program.
func ExampleMux() {
	shop := egress.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s is out of stock", r.URL.Path[1:])
	}))
	out := egress.Mux{
		"api.github.com:443": egress.Public,
		"shop.test":          shop,
	}
	client := http.Client{Transport: &http.Transport{DialContext: out.Dial}} // stands for a container here
	resp, err := client.Get("http://shop.test/tea")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(os.Stdout, resp.Body)
	_, err = out.Dial(context.Background(), "tcp", "evil.test:443")
	fmt.Println("\nrefused:", errors.Is(err, egress.ErrRefused))
	// Output:
	// tea is out of stock
	// refused: true
}

// Any function that dials is a way out, such as one that names its caller.
func ExampleDialer() {
	var out egress.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		fmt.Printf("%s wants %s %s\n", egress.SourceOf(ctx).Container, network, address)
		return nil, egress.ErrRefused
	}
	_, _ = out(egress.WithSource(context.Background(), egress.Source{Container: "c1"}), "tcp", "example.org:80")
	// Output: c1 wants tcp example.org:80
}

func ExampleSource() {
	ctx := egress.WithSource(context.Background(), egress.Source{Container: "c1"})
	fmt.Println(egress.SourceOf(ctx).Container)
	// Output: c1
}

func ExampleAllow() {
	out := egress.Allow("*.debian.org:80", "10.0.0.0/8:5432")
	_, err := out(context.Background(), "tcp", "example.org:80")
	fmt.Println(err)
	// Output: dial tcp: example.org:80: no rule allows it: refused by the egress policy
}

func ExampleCheck() {
	err := egress.Check(egress.Allow("example.*"))
	fmt.Println(err)
	// Output: egress rule "example.*": it is neither a host name, "*.name", "*", an IP address nor a CIDR: invalid argument
}

// The certificate goes into a container's trust store.
func ExampleCA() {
	ca, err := egress.NewCA()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.27s\n", ca.Certificate())
	// Output: -----BEGIN CERTIFICATE-----
}

// At most 4 connections at a time, and 1 MB a second.
func ExampleBounds() {
	out := egress.Limit(egress.Public, egress.Bounds{Connections: 4, BytesPerSecond: 1_000_000})
	fmt.Println(egress.Check(out))
	// Output: <nil>
}

func ExampleDecision() {
	r, w := io.Pipe()
	out := egress.Record(w, egress.Allow())
	go func() { _, _ = out(context.Background(), "tcp", "example.org:443") }()
	var d egress.Decision
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		fmt.Println(err)
	}
	fmt.Println(d.Verdict, d.Address, "-", d.Reason)
	// Output: refused example.org:443 - dial tcp: example.org:443: no rule allows it: refused by the egress policy
}

// A program that shows what its containers ask for, as it happens.
func ExampleVerdict() {
	out := egress.Watch(egress.Deny("*.tracker.test")(egress.Public), func(d egress.Decision) {
		if d.Verdict != egress.Allowed {
			fmt.Println(d.Container, "was not let through to", d.Address)
		}
	})
	ctx := egress.WithSource(context.Background(), egress.Source{Container: "c1"})
	_, _ = out(ctx, "tcp", "a.tracker.test:443")
	// Output: c1 was not let through to a.tracker.test:443
}
