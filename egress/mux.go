package egress

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
)

// Mux chooses a dialer by what the container asks for. A key is a rule as
// [Allow] has them: "db:5432", "*.example.org", "10.0.0.0/8", "*". Of those that
// match, the narrowest has it: a name before a wildcard, a longer wildcard before
// a shorter, a smaller network before a larger, "*" last; and among equals one
// with a port before one without. Where none matches, the connection is refused
// with [ErrRefused]. A nil Dialer refuses too, so that a hole can be made in a
// wildcard.
//
//	egress.Mux{"db:5432": postgres.Dial, "*": egress.Public}.Dial
type Mux map[string]Dialer

// Dial is the [Dialer] of the map as it is now; the map must not change
// afterwards. A malformed key refuses every connection, with an error that names
// it; [Check] finds that before.
func (m Mux) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	table, err := m.table()
	if q := asked(ctx, err, dials(table)...); q != nil {
		q.policy = muxPolicy(table, q.below)
		q.forwards = muxForwards(table, q)
		return nil, errAsked
	}
	if err != nil {
		return nil, err
	}
	for _, e := range table {
		if !e.matches(address) {
			continue
		}
		if e.dial == nil {
			return nil, refused(network, address, "the Mux closes it")
		}
		return e.dial(ctx, network, address)
	}
	return nil, refused(network, address, "no key of the Mux names it")
}

type entry struct {
	rule
	key  string
	dial Dialer
}

func dials(table []entry) (all []Dialer) {
	for _, e := range table {
		all = append(all, e.dial)
	}
	return all
}

// muxForwards asks the narrowest entries that name what is looked up.
func muxForwards(table []entry, q *question) bool {
	for i, e := range table {
		if !e.names(q.name) {
			continue
		}
		for j := i; j < len(table) && table[j].width() == e.width(); j++ {
			if table[j].names(q.name) && q.below[j].forwards {
				return true
			}
		}
		return false
	}
	return false
}

// table gives the entries, the narrowest first.
func (m Mux) table() ([]entry, error) {
	var (
		table  []entry
		faults []error
	)
	for key, d := range m {
		r, err := parse(key)
		if err != nil {
			faults = append(faults, err)
		}
		table = append(table, entry{r, key, d})
	}
	slices.SortFunc(table, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.width(), a.width()), cmp.Compare(min(b.port, 1), min(a.port, 1)))
	})
	return table, errors.Join(faults...)
}

// width is larger for what names fewer hosts. Addresses and names are never
// compared for one host: it is asked for by one or the other.
func (r rule) width() int {
	switch {
	case r.name != "":
		return 1000
	case r.suffix != "":
		return len(r.suffix)
	case r.any:
		return -1
	}
	return r.prefix.Bits()
}
