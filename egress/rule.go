package egress

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// A rule names hosts: exactly one of name, suffix, prefix and any is set.
type rule struct {
	name   string       // this one
	suffix string       // ".example.org": all below
	prefix netip.Prefix // these addresses
	any    bool
	port   uint16 // 0: all
}

// parse reads "host", "*.host", "*", an IP address or a CIDR, each with or
// without ":port". An IPv6 address with a port stands in brackets, and so does a
// CIDR of IPv6 with one.
func parse(s string) (rule, error) {
	host, port := split(s)
	var r rule
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return r, malformed(s, "a port is a number from 1 to 65535")
		}
		r.port = uint16(n)
	}
	if host = strings.ToLower(host); host != "*." {
		host = strings.TrimSuffix(host, ".")
	}
	if p, err := netip.ParsePrefix(host); err == nil {
		r.prefix = p.Masked()
		return r, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap().WithZone("")
		r.prefix = netip.PrefixFrom(a, a.BitLen())
		return r, nil
	}
	suffix, wild := strings.CutPrefix(host, "*.")
	switch {
	case host == "*":
		r.any = true
	case !isName(suffix):
		return r, malformed(s, `it is neither a host name, "*.name", "*", an IP address nor a CIDR`)
	case wild:
		r.suffix = "." + suffix
	default:
		r.name = host
	}
	return r, nil
}

func malformed(rule, why string) error {
	return fmt.Errorf("egress rule %q: %s: %w", rule, why, errdefs.ErrInvalidArgument)
}

// split takes the port off, if there is one.
func split(s string) (host, port string) {
	if strings.HasPrefix(s, "[") {
		if h, p, ok := strings.Cut(s[1:], "]"); ok && (p == "" || p[0] == ':') {
			return h, strings.TrimPrefix(p, ":")
		}
		return s, ""
	}
	if strings.Count(s, ":") == 1 {
		h, p, _ := strings.Cut(s, ":")
		return h, p
	}
	return s, ""
}

// isName tells whether s can be a host's name: RFC 1123, and underscores, which
// some have.
func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	numeric := true
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
		_, err := strconv.Atoi(label)
		numeric = err == nil
	}
	return !numeric // "1.2.3" is a mistyped address
}

// matches tells whether address, "host:port", is one that r names.
func (r rule) matches(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return false
	}
	return (r.port == 0 || port == strconv.Itoa(int(r.port))) && r.names(host)
}

// names tells whether r names a host, at some port.
func (r rule) names(host string) bool {
	if r.any {
		return true
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if a, err := netip.ParseAddr(host); err == nil {
		return r.prefix.IsValid() && r.prefix.Contains(a.Unmap().WithZone(""))
	}
	return r.name != "" && host == r.name || r.suffix != "" && strings.HasSuffix(host, r.suffix)
}

// ruleSet is what some rules say together. err is what is wrong with one.
type ruleSet struct {
	text  []string // as they were given
	rules []rule
	err   error
}

func parseAll(rules []string) (s ruleSet) {
	s.text = append([]string{}, rules...)
	for _, text := range rules {
		r, err := parse(text)
		if err != nil {
			return ruleSet{text: s.text, err: err}
		}
		s.rules = append(s.rules, r)
	}
	return s
}

func (s ruleSet) matches(address string) bool {
	return slices.ContainsFunc(s.rules, func(r rule) bool { return r.matches(address) })
}

// names tells whether one of the rules that count names a host.
func (s ruleSet) names(host string, counts func(rule) bool) bool {
	return s.err == nil && slices.ContainsFunc(s.rules, func(r rule) bool { return counts(r) && r.names(host) })
}

// opened gives the addresses that the rules which match address's port name by
// address: these may be private.
func (s ruleSet) opened(address string) (p []netip.Prefix) {
	_, port, _ := net.SplitHostPort(address)
	for _, r := range s.rules {
		if r.prefix.IsValid() && (r.port == 0 || port == strconv.Itoa(int(r.port))) {
			p = append(p, r.prefix)
		}
	}
	return p
}
