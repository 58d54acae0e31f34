package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a test binary prints is counted by tests; a failure that is not known is
// told, with the parts that failed.
func TestOutcome(t *testing.T) {
	o, err := follow(strings.NewReader("=== RUN   TestA\nno end of line\x16--- PASS: TestA (0.00s)\n--- FAIL: TestB/part (0.1s)\n--- PASS: TestB/other (0.1s)\n--- FAIL: TestB (0.2s)\n--- SKIP: TestC (0.00s)\nsaid --- PASS: no\nFAIL"))
	require.NoError(t, err)
	require.Equal(t, &outcome{passed: []string{"TestA"}, failed: []string{"TestB"}, skipped: []string{"TestC"}, parts: []string{"TestB/part"}}, o)
	var said bytes.Buffer
	require.True(t, o.tell(&said, map[string]string{"TestB": "no such thing here"}))
	require.Contains(t, said.String(), "1 passed, 1 failed, 1 skipped\n")
	require.Contains(t, said.String(), "TestB: no such thing here\n         TestB/part\n")
	require.False(t, o.tell(&said, nil))
	require.False(t, new(outcome).tell(&said, nil), "nothing was tested")
}
