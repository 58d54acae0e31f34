package registry

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// reach is from where an address can be reached. A registry may name a token
// server that is no nearer to this machine than the registry itself: else a
// stranger's would have this program ask servers that the stranger can't.
type reach int

const (
	everywhere reach = iota
	provider         // carrier-grade NAT (RFC 6598), which Tailscale uses too
	site             // private networks
	machine          // loopback
	nowhere          // link-local, unspecified, and clouds' metadata: never a token server
)

var (
	cgnat = netip.MustParsePrefix("100.64.0.0/10")
	// What these servers tell about a machine includes its keys. They have
	// link-local addresses too.
	metadata = []netip.Addr{netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192"), netip.MustParseAddr("fd00:ec2::254")}
)

func reachOf(a netip.Addr) reach {
	a = a.Unmap().WithZone("")
	switch {
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified(), slices.Contains(metadata, a):
		return nowhere
	case a.IsLoopback():
		return machine
	case a.IsPrivate():
		return site
	case cgnat.Contains(a):
		return provider
	}
	return everywhere
}

// checkRealm refuses a token server, which a registry names and which gets the
// credentials, where it has no TLS though the registry has, or where it can't
// be the registry's own. It says nothing against one whose name can't be
// resolved here: a proxy may know it.
func checkRealm(ctx context.Context, realm, registry *url.URL) error {
	if realm.Scheme != "https" && realm.Scheme != "http" {
		return fmt.Errorf("the registry's token server (realm) has scheme %.20q, not https", realm.Scheme)
	}
	if realm.Scheme == "http" && registry.Scheme == "https" {
		return fmt.Errorf("the registry has TLS, its token server (realm) %s has not", realm.Host)
	}
	if err := checkReach(ctx, realm, registry); err != nil {
		return fmt.Errorf("the registry's token server (realm) %w; Credential.RegistryToken does without it", err)
	}
	return nil
}

// checkReach refuses what is nearer to this machine than the registry that
// names it.
func checkReach(ctx context.Context, u, registry *url.URL) error {
	if strings.EqualFold(u.Hostname(), registry.Hostname()) {
		return nil
	}
	theirs := addresses(ctx, u.Hostname())
	if !slices.ContainsFunc(theirs, func(a netip.Addr) bool { return reachOf(a) != everywhere }) {
		return nil
	}
	ours := addresses(ctx, registry.Hostname())
	for _, a := range theirs {
		r := reachOf(a)
		if r == everywhere {
			continue
		}
		if r == nowhere || len(ours) == 0 || slices.ContainsFunc(ours, func(o netip.Addr) bool { return reachOf(o) != r }) {
			return fmt.Errorf("%s is at %s, in a network that the registry is not in", u.Host, a)
		}
	}
	return nil
}

func addresses(ctx context.Context, host string) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	return list
}
