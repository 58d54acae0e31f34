package bundle

import (
	"encoding/json"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

func configuration(t testing.TB, action specs.LinuxSeccompAction, calls int) []byte {
	t.Helper()
	rule := specs.LinuxSyscall{Action: specs.ActAllow}
	for range calls {
		rule.Names = append(rule.Names, "read", "write\"seccomp\":{")
	}
	b, err := json.Marshal(&specs.Spec{
		Annotations: map[string]string{"a": `"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"}`},
		Hostname:    string(action),
		Linux: &specs.Linux{
			CgroupsPath: "/c", RootfsPropagation: "private",
			Seccomp: &specs.LinuxSeccomp{DefaultAction: action, Syscalls: []specs.LinuxSyscall{rule}},
		},
	})
	require.NoError(t, err)
	return b
}

// A profile that was parsed before is the same as one that is parsed.
func TestParseAgain(t *testing.T) {
	for _, b := range [][]byte{
		configuration(t, specs.ActErrno, 3), configuration(t, specs.ActErrno, 3), // again
		configuration(t, specs.ActKill, 3), configuration(t, specs.ActErrno, 4),
		[]byte(`{}`), []byte(`{"linux":{}}`), []byte(`{"linux":{"seccomp":null}}`),
		configuration(t, specs.ActErrno, 4),
	} {
		var want specs.Spec
		require.NoError(t, json.Unmarshal(b, &want))
		got, err := Parse(b)
		require.NoError(t, err)
		require.Equal(t, &want, got)
	}
	_, err := Parse(configuration(t, specs.ActErrno, 4)[:100])
	require.Error(t, err)
}

func BenchmarkParse(b *testing.B) {
	text := configuration(b, specs.ActErrno, 200)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		_, err := Parse(text)
		require.NoError(b, err)
	}
}
