package egress

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// A swap is what to put for what. Of two that begin at one place, the longer
// old one is taken.
type swap struct{ old, new string }

// swaps are ready for use: without empty, double and void ones, the longest first.
func sorted(all []swap) []swap {
	all = slices.DeleteFunc(all, func(s swap) bool { return s.old == "" || s.old == s.new })
	slices.SortStableFunc(all, func(a, b swap) int { return len(b.old) - len(a.old) })
	return slices.CompactFunc(all, func(a, b swap) bool { return a.old == b.old })
}

// replace swaps in a string.
func replace(s string, all []swap) string {
	if !slices.ContainsFunc(all, func(w swap) bool { return strings.Contains(s, w.old) }) {
		return s
	}
	var pairs []string
	for _, w := range all {
		pairs = append(pairs, w.old, w.new)
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// swapping swaps in what is read from body. It holds back no more than what may
// be the beginning of something to be swapped, so a stream of events stays one.
type swapping struct {
	body io.ReadCloser
	all  []swap
	in   []byte // read, and not looked at to its end
	out  []byte // to be given
	err  error  // of body
}

func newSwapping(body io.ReadCloser, all []swap) io.ReadCloser {
	return &swapping{body: body, all: all}
}

func (s *swapping) Close() error { return s.body.Close() }

func (s *swapping) Read(p []byte) (int, error) {
	for len(s.out) == 0 && len(p) > 0 {
		if s.err != nil && len(s.in) == 0 {
			return 0, s.err
		}
		if s.err == nil {
			at := len(s.in)
			s.in = slices.Grow(s.in, 16<<10)
			var n int
			n, s.err = s.body.Read(s.in[at : at+16<<10])
			s.in = s.in[:at+n]
		}
		s.look()
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// look moves from in to out what is certain.
func (s *swapping) look() {
	s.out = s.out[:0]
	for len(s.in) > 0 {
		at, w := s.first()
		if at < 0 {
			keep := 0
			if s.err == nil {
				keep = s.begun()
			}
			s.out = append(s.out, s.in[:len(s.in)-keep]...)
			s.in = append(s.in[:0], s.in[len(s.in)-keep:]...)
			return
		}
		// A longer one may begin where this one does, or before it.
		if keep := s.begun(); s.err == nil && keep >= len(s.in)-at {
			s.out = append(s.out, s.in[:len(s.in)-keep]...)
			s.in = append(s.in[:0], s.in[len(s.in)-keep:]...)
			return
		}
		s.out = append(append(s.out, s.in[:at]...), w.new...)
		s.in = s.in[at+len(w.old):]
	}
}

// first finds the first of all in in.
func (s *swapping) first() (at int, found swap) {
	at = -1
	for _, w := range s.all {
		within := s.in
		if at >= 0 {
			within = within[:min(len(within), at+len(w.old)-1)] // it must begin before
		}
		if i := bytes.Index(within, []byte(w.old)); i >= 0 {
			at, found = i, w
		}
	}
	return at, found
}

// begun is how many of the last bytes of in may be the beginning of one.
func (s *swapping) begun() (n int) {
	for _, w := range s.all {
		for k := min(len(w.old)-1, len(s.in)); k > n; k-- {
			if string(s.in[len(s.in)-k:]) == w.old[:k] {
				n = k
				break
			}
		}
	}
	return n
}
