package main

import (
	"github.com/distribution/reference"
)

// name is an image's name in the words of docker's messages.
type name struct {
	familiar string // "alpine:3.22"
	path     string // "library/alpine"
	tag      string // "3.22", or a digest
}

func parseName(ref string) (name, error) {
	n, err := reference.ParseDockerRef(ref)
	if err != nil {
		return name{}, err
	}
	s := name{familiar: reference.FamiliarString(n), path: reference.Path(n)}
	switch n := n.(type) {
	case reference.Digested:
		s.tag = n.Digest().String()
	case reference.Tagged:
		s.tag = n.Tag()
	}
	return s, nil
}
