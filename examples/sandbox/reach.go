package main

import (
	"fmt"

	"github.com/ctorhq/ctor/egress"
)

// placeholder is what the box has in the place of the token.
const placeholder = "GITHUB-TOKEN-STAYS-OUTSIDE"

// reach is the box's way out: these hosts and no others.
func (s *sandbox) reach() egress.Dialer {
	token := s.token
	if token == "" {
		token = placeholder // GitHub says then that it is none
	}
	hosts := egress.Mux{
		"api.github.com:443":     egress.Secret(s.internet, "api.github.com", placeholder, token),
		"dl-cdn.alpinelinux.org": s.internet,
	}
	return egress.Watch(hosts.Dial, func(d egress.Decision) {
		if d.Verdict != egress.Allowed {
			// The terminal may be in raw mode, where a line's end needs its \r.
			fmt.Fprintf(s.stderr, "sandbox: the box asked for %s: %s\r\n", d.Address, d.Reason)
		}
	})
}
