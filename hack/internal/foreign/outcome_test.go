package foreign

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a test binary prints is counted by tests; a failure that is not known is
// told, with the parts that failed.
func TestOutcome(t *testing.T) {
	o, err := Follow(strings.NewReader("=== RUN   TestA\nno end of line\x16--- PASS: TestA (0.00s)\n--- FAIL: TestB/part (0.1s)\n--- PASS: TestB/other (0.1s)\n--- FAIL: TestB (0.2s)\n--- SKIP: TestC (0.00s)\nsaid --- PASS: no\nFAIL"), nil)
	require.NoError(t, err)
	require.Equal(t, &Outcome{Passed: []string{"TestA"}, Failed: []string{"TestB"}, Skipped: []string{"TestC"}, Parts: []string{"TestB/part"}}, o)
	var said bytes.Buffer
	none := func(string) string { return "" }
	require.True(t, o.Tell(&said, func(test string) string { return map[string]string{"TestB": "no such thing here"}[test] }))
	require.Contains(t, said.String(), "1 passed, 1 failed, 1 skipped\n")
	require.Contains(t, said.String(), "TestB: no such thing here\n         TestB/part\n")
	require.False(t, o.Tell(&said, none))
	o, err = Follow(strings.NewReader("--- FAIL: TestAll/TestA/x\n--- FAIL: TestAll\n"), func(s string) string {
		_, s, _ = strings.Cut(s, "TestAll/")
		return s
	})
	require.NoError(t, err)
	require.Equal(t, &Outcome{Parts: []string{"TestA/x"}}, o)
	require.False(t, new(Outcome).Tell(&said, none), "nothing was tested")
}
