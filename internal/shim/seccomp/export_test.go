package seccomp

import "slices"

// Number looks a call up; an architecture is named as GOARCH is, or "x32".
func Number(column, name string) (uint32, bool) {
	return arch(slices.Index([]string{"amd64", "x32", "386", "arm64", "arm"}, column)).number(lookup(name))
}

// Names are those of all calls.
func Names() (names []string) {
	for _, c := range calls {
		names = append(names, c.name)
	}
	return names
}
