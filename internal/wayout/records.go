package wayout

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// What is asked of the program's own resolver in a container's name.
const (
	mostLookups = 16 // at a time, by datagrams; one more fails
	lookupTime  = 5 * time.Second
	recordsTTL  = 30 // package net does not tell the zone's own
)

// A lookup is a question whose answer is asked for elsewhere, if the policy lets
// it: what a name has beside addresses.
type lookup struct {
	name string
	typ  dnsmessage.Type
}

// lookupOf is the lookup that a question about a name outside asks for; nil: none.
func lookupOf(name string, typ dnsmessage.Type) *lookup {
	if !forwardable(typ) {
		return nil
	}
	return &lookup{strings.ToLower(name), typ}
}

// forwardable tells whether a type is one that package net can look up. Others,
// such as HTTPS (RFC 9460), which would lead around names to addresses, have no
// records here.
func forwardable(t dnsmessage.Type) bool {
	return t == dnsmessage.TypeTXT || t == dnsmessage.TypeMX || t == dnsmessage.TypeSRV || t == dnsmessage.TypeNS
}

// find gives the records, as the program's own resolver finds them.
func (l lookup) find(ctx context.Context) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	r, name := net.DefaultResolver, l.name+"." // no search domain of the host
	var found []dnsmessage.ResourceBody
	var err error
	switch l.typ {
	case dnsmessage.TypeA:
		var all []netip.Addr
		all, err = r.LookupNetIP(ctx, "ip4", name)
		for _, a := range all {
			found = append(found, &dnsmessage.AResource{A: a.Unmap().As4()})
		}
	case dnsmessage.TypeTXT:
		var all []string
		all, err = r.LookupTXT(ctx, name)
		for _, text := range all {
			found = append(found, &dnsmessage.TXTResource{TXT: pieces(text)})
		}
	case dnsmessage.TypeMX:
		var all []*net.MX
		all, err = r.LookupMX(ctx, name)
		for _, mx := range all {
			if host, err := dnsmessage.NewName(mx.Host); err == nil {
				found = append(found, &dnsmessage.MXResource{Pref: mx.Pref, MX: host})
			}
		}
	case dnsmessage.TypeSRV:
		var all []*net.SRV
		_, all, err = r.LookupSRV(ctx, "", "", name)
		for _, srv := range all {
			if host, err := dnsmessage.NewName(srv.Target); err == nil {
				found = append(found, &dnsmessage.SRVResource{Priority: srv.Priority, Weight: srv.Weight, Port: srv.Port, Target: host})
			}
		}
	case dnsmessage.TypeNS:
		var all []*net.NS
		all, err = r.LookupNS(ctx, name)
		for _, ns := range all {
			if host, err := dnsmessage.NewName(ns.Host); err == nil {
				found = append(found, &dnsmessage.NSResource{NS: host})
			}
		}
	}
	var d *net.DNSError
	if len(found) > 0 || err == nil || errors.As(err, &d) && d.IsNotFound {
		return found, dnsmessage.RCodeSuccess // it is not told whether there is the name
	}
	return nil, dnsmessage.RCodeServerFailure
}

// pieces cuts a text into strings as a TXT record has them (RFC 1035, section
// 3.3.14). Package net has joined them.
func pieces(text string) (all []string) {
	const most = 255
	for len(text) > most {
		all, text = append(all, text[:most]), text[most:]
	}
	return append(all, text)
}
