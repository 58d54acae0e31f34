package seccomp

import "slices"

// span is the values from one on, up to the next span, and what they lead to.
type span[V uint32 | uint64] struct {
	from V
	to   step
}

// begin adds a span to a list that is in order. It takes the place of one that
// begins at the same value.
func begin[V uint32 | uint64](spans []span[V], from V, to step) []span[V] {
	if n := len(spans); n > 0 && spans[n-1].from == from {
		spans = spans[:n-1]
	}
	return append(spans, span[V]{from, to})
}

// edge is a value at which another step begins; alone if it is the only one there,
// and what was before goes on.
type edge struct {
	at    uint32
	alone bool
	to    step
}

// tree finds a value's span. The value is in the accumulator, unless all lead to
// one step, which then is the tree.
func tree(spans []span[uint32]) step {
	var distinct []span[uint32]
	for _, s := range spans {
		if distinct = begin(distinct, s.from, s.to); len(distinct) > 1 && distinct[len(distinct)-2].to == s.to {
			distinct = distinct[:len(distinct)-1]
		}
	}
	var edges []edge
	around := distinct[0].to
	for i := 1; i < len(distinct); i++ {
		s := distinct[i]
		if i+1 < len(distinct) && distinct[i+1].from == s.from+1 && distinct[i+1].to == around {
			edges = append(edges, edge{s.from, true, s.to})
			i++
			continue
		}
		edges = append(edges, edge{s.from, false, s.to})
		around = s.to
	}
	return split(distinct[0].to, edges)
}

// atOnce is how many values are compared one after the other before it pays to
// find out first on which side of the middle one a value is.
const atOnce = 4

// split is the tree of some edges. Values before the first lead to around.
func split(around step, edges []edge) step {
	if len(edges) == 0 {
		return around
	}
	middle, found := nearestMiddle(edges)
	switch {
	case found:
		e := edges[middle]
		return &branch{atLeast, e.at, split(e.to, edges[middle+1:]), split(around, edges[:middle])}
	case len(edges) > atOnce:
		return &branch{atLeast, edges[middle].at, split(around, edges[middle:]), split(around, edges[:middle])}
	}
	for _, e := range slices.Backward(edges) {
		around = &branch{equal, e.at, e.to, around}
	}
	return around
}

// nearestMiddle gives the edge nearest the middle that is not alone; false if all
// are, and the middle one.
func nearestMiddle(edges []edge) (int, bool) {
	middle := len(edges) / 2
	for distance := range middle + 1 {
		for _, i := range []int{middle - distance, middle + distance} {
			if i < len(edges) && !edges[i].alone {
				return i, true
			}
		}
	}
	return middle, false
}
