package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Parse parses a configuration. Its seccomp profile is not to be changed: it may be
// that of other containers.
func Parse(b []byte) (*specs.Spec, error) {
	last := profiles.Load()
	b, cut := last.cut(b)
	var s specs.Spec
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", config, err, errdefs.ErrInvalidArgument)
	}
	switch {
	case s.Linux == nil:
	case cut:
		s.Linux.Seccomp = last.parsed
	case s.Linux.Seccomp != nil:
		remember(s.Linux.Seccomp)
	}
	return &s, nil
}

// profile is a seccomp profile, and how it is written in a configuration. It is most
// of what there is to parse, and as a rule the same for all containers of a shim.
type profile struct {
	text   []byte
	parsed *specs.LinuxSeccomp
}

// profiles holds the one that was parsed last.
var profiles atomic.Pointer[profile]

const profileKey = `"seccomp":`

// cut takes a profile out of a configuration, if it is there as it is known. Quotes
// within a string are escaped in JSON, and no other object has such a key.
func (p *profile) cut(b []byte) (rest []byte, found bool) {
	if p == nil {
		return b, false
	}
	at := bytes.Index(b, []byte(profileKey)) + len(profileKey)
	if at < len(profileKey) || !bytes.HasPrefix(b[at:], p.text) {
		return b, false
	}
	rest = append(make([]byte, 0, len(b)-len(p.text)+len("null")), b[:at]...)
	rest = append(rest, "null"...)
	return append(rest, b[at+len(p.text):]...), true
}

func remember(parsed *specs.LinuxSeccomp) {
	if text, err := json.Marshal(parsed); err == nil {
		profiles.Store(&profile{text, parsed})
	}
}
