package verbatim_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/verbatim"
)

func TestCheck(t *testing.T) {
	for _, s := range []string{"", "text", "\x00<&>", "\ufffd", `\ufffd`, `\\ufffd`, `\\\ufffd`, "caf\u00e9", strings.Repeat(`\ufffd`, 100)} {
		require.NoError(t, check(t, s), "%q", s)
	}
	for _, s := range []string{"caf\xe9", "\xff", "\\\xff", "\\\\\xff", "\xed\xa0\x80", "\ufffd\xff", `\ufffd` + "\xff", strings.Repeat("long", 1000) + "\xc3"} {
		require.ErrorIs(t, check(t, s), errdefs.ErrInvalidArgument, "%q", s)
	}
	require.ErrorContains(t, check(t, "caf\xe9"), `caf\ufffd`)
}

// check has s as a value and as a key.
func check(t *testing.T, s string) error {
	b, err := json.Marshal(map[string]any{"a": []string{"x", s}, s: 1})
	require.NoError(t, err)
	return verbatim.Check(b)
}

// What passes comes back as it was, and what would not does not pass.
func FuzzCheck(f *testing.F) {
	f.Add("caf\xe9")
	f.Add(`\ufffd`)
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(s)
		require.NoError(t, err)
		var back string
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, back == s, verbatim.Check(b) == nil, "%q", s)
	})
}
