package registry

import (
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// challenge is one way to sign in that a registry offers (RFC 9110, 11.6.1).
type challenge struct {
	scheme auth.Scheme
	params map[string]string // keys in lower case
}

// choose returns the best of all challenges that this package can meet: a
// token's before a password's. There may be several in a header and several
// headers, with Negotiate or Digest among them.
func choose(headers []string) (best challenge, ok bool) {
	for _, h := range headers {
		for _, c := range parseChallenges(h) {
			if c.scheme == auth.SchemeBearer && c.params["realm"] != "" {
				return c, true
			}
			if c.scheme == auth.SchemeBasic {
				best, ok = c, true
			}
		}
	}
	return best, ok
}

// parseChallenges reads one header. What can't be read ends it.
func parseChallenges(header string) []challenge {
	var list []challenge
	s := scanner(header)
	for {
		s.skip(" \t,")
		word := s.token()
		if word == "" {
			return list
		}
		s.skip(" \t")
		if s.next('=') && len(list) > 0 {
			s.skip(" \t")
			list[len(list)-1].params[strings.ToLower(word)] = s.value()
			continue
		}
		list = append(list, challenge{scheme: schemeOf(word), params: map[string]string{}})
		s.token68()
	}
}

func schemeOf(word string) auth.Scheme {
	switch strings.ToLower(word) {
	case "basic":
		return auth.SchemeBasic
	case "bearer":
		return auth.SchemeBearer
	}
	return auth.SchemeUnknown
}

// scanner is what is left of a header.
type scanner string

func (s *scanner) skip(chars string) { *s = scanner(strings.TrimLeft(string(*s), chars)) }

func (s *scanner) next(c byte) bool {
	if *s == "" || (*s)[0] != c {
		return false
	}
	*s = (*s)[1:]
	return true
}

func (s *scanner) take(is func(rune) bool) string {
	n := strings.IndexFunc(string(*s), func(r rune) bool { return !is(r) })
	if n < 0 {
		n = len(*s)
	}
	word := (*s)[:n]
	*s = (*s)[n:]
	return string(word)
}

func isToken(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func (s *scanner) token() string { return s.take(isToken) }

// token68 passes over the blob that some schemes have in place of parameters,
// such as "oRQwEg==": unlike a parameter's name, a comma or the end follows.
func (s *scanner) token68() {
	rest := *s
	s.take(func(r rune) bool { return isToken(r) || r == '/' })
	s.take(func(r rune) bool { return r == '=' })
	s.skip(" \t")
	if *s != "" && (*s)[0] != ',' {
		*s = rest
	}
}

// value is a token or a quoted string.
func (s *scanner) value() string {
	if !s.next('"') {
		return s.token()
	}
	var b strings.Builder
	for *s != "" {
		c := (*s)[0]
		*s = (*s)[1:]
		switch {
		case c == '"':
			return b.String()
		case c == '\\' && *s != "":
			c = (*s)[0]
			*s = (*s)[1:]
		}
		b.WriteByte(c)
	}
	return b.String()
}
