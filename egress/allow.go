package egress

import (
	"context"
	"net"
)

// Allow dials the hosts that a rule names, as [Public] does, and refuses all
// others with [ErrRefused]. A rule is
//
//	"example.org"        a host
//	"*.example.org"      all hosts below it, but not itself
//	"192.0.2.7"          an address, which opens it even if it is private
//	"10.0.0.0/8"         addresses, likewise
//	"*"                  every host that is public
//
// each with ":port" behind it, or for all ports without; IPv6 with a port stands
// in brackets: "[2001:db8::]/32" is wrong, "[2001:db8::/32]:443" is right. A rule
// by name does not open a private address that the name leads to; a rule by
// address does, whether the container asks for the address or for a name that
// another rule allows. No rule opens the host's own addresses, loopback, or
// link-local ones: let a [Mux] lead a name to those.
//
// With no rule nothing is allowed. With a malformed rule nothing is either, and
// each error says what is wrong with it; [Check] finds that before.
func Allow(rules ...string) Dialer {
	return (&allow{parseAll(rules)}).dial
}

type allow struct{ ruleSet }

func (a *allow) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if q := asked(ctx, a.err); q != nil {
		q.policy = &policy{Allow: &a.text}
		q.forwards = a.names(q.name, func(rule) bool { return true })
		return nil, errAsked
	}
	switch {
	case a.err != nil:
		return nil, a.err
	case !a.matches(address):
		return nil, refused(network, address, "no rule allows it")
	}
	return dial(ctx, network, address, a.opened(address))
}

// Deny refuses the hosts that a rule names, with [ErrRefused], and leaves all
// others to the dialer that the result is called with:
//
//	egress.Deny("*.tracker.test", "*:25")(egress.Public)
//
// Rules are as [Allow] has them. They see what the container asks for: a rule by
// address does not see the addresses of a name.
func Deny(rules ...string) func(Dialer) Dialer {
	set := parseAll(rules)
	return func(next Dialer) Dialer { return (&deny{set, next}).dial }
}

type deny struct {
	ruleSet
	next Dialer
}

func (d *deny) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if q := asked(ctx, d.err, d.next); q != nil {
		if next := q.below[0].policy; next != nil {
			q.policy = &policy{Deny: &d.text, Next: next}
		}
		q.forwards = q.below[0].forwards && !d.names(q.name, func(r rule) bool { return r.port == 0 })
		return nil, errAsked
	}
	switch {
	case d.err != nil:
		return nil, d.err
	case d.matches(address):
		return nil, refused(network, address, "a rule denies it")
	}
	return d.next(ctx, network, address)
}
