package cgroup

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
)

// Parent is the cgroup, in every hierarchy, under which an engine keeps
// those of its containers. It differs from engine to engine: two may have
// containers of one name. "" is that there can be none.
func Parent(root, namespace string) string {
	if Absent() != nil {
		return ""
	}
	h := sha256.Sum256([]byte(root + "\x00" + namespace))
	return parentPrefix + hex.EncodeToString(h[:parentBytes])
}

const (
	parentPrefix = "/ctor-"
	parentBytes  = 6
)

// ParentOf gives the cgroup of an engine that a container's is in; "" if that is
// somewhere else.
func ParentOf(path string) string {
	parent := filepath.Dir(filepath.Join("/", path))
	digits, ok := strings.CutPrefix(parent, parentPrefix)
	if b, err := hex.DecodeString(digits); !ok || err != nil || len(b) != parentBytes {
		return ""
	}
	return parent
}
