package spec

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/memo"
)

// A profile is one that many containers have, and how it is written: it is half of a
// configuration. It is shared, and not to be changed.
type profile struct {
	shared *specs.LinuxSeccomp
	text   []byte
}

// profiles are containerd's default ones, by the capabilities that they are for.
var profiles memo.Memo[string, profile]

// defaultProfile gives the one for a configuration's capabilities, until Unshare.
func defaultProfile(s *specs.Spec) (*specs.LinuxSeccomp, error) {
	key := strings.Join(s.Process.Capabilities.Bounding, " ")
	if p, ok := profiles.Get(key); ok {
		return p.shared, nil
	}
	p := profile{shared: seccomp.DefaultProfile(s)}
	var err error
	if p.text, err = json.Marshal(p.shared); err != nil {
		return nil, err
	}
	profiles.Put(key, p)
	return p.shared, nil
}

// textOf is how a profile is written that defaultProfile has given; nil is that it has
// not.
func textOf(s *specs.Spec) []byte {
	if s.Linux == nil || s.Linux.Seccomp == nil || s.Process == nil || s.Process.Capabilities == nil {
		return nil
	}
	p, ok := profiles.Get(strings.Join(s.Process.Capabilities.Bounding, " "))
	if !ok || p.shared != s.Linux.Seccomp {
		return nil
	}
	return p.text
}

// Unshare has a configuration share nothing with others, so that it can be changed.
func Unshare(s *specs.Spec) {
	if textOf(s) != nil {
		s.Linux.Seccomp = seccomp.DefaultProfile(s)
	}
}

// blank is a profile that none is, as it is written. Quotes within a string are escaped
// in JSON: so this is where a profile belongs.
var blank, blankText = &specs.LinuxSeccomp{}, []byte(`"seccomp":{"defaultAction":""}`)

// marshal is json.Marshal, which writes a shared profile once for all.
func marshal(s *specs.Spec) ([]byte, error) {
	text := textOf(s)
	if text == nil {
		return json.Marshal(s)
	}
	without, linux := *s, *s.Linux
	linux.Seccomp, without.Linux = blank, &linux
	b, err := json.Marshal(&without)
	if err != nil {
		return nil, err
	}
	return bytes.Replace(b, blankText, slices.Concat([]byte(`"seccomp":`), text), 1), nil
}
