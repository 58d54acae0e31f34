package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A call of a method by a name that is not constant makes the linker keep every
// method of every type. That program is a quarter larger, and is executed for
// each process that a container is given: 0.9 ms more of its start.
func TestNoMethodByName(t *testing.T) {
	if testing.Short() {
		t.Skip("links the program")
	}
	cmd := exec.Command("go", "build", "-tags", "seccomp", "-ldflags=-dumpdep", "-o", filepath.Join(t.TempDir(), "shim"), ".")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		_, to, _ := strings.Cut(line, " -> ")
		require.NotContains(t, to, "<ReflectMethod>", "it is called by: %s", line)
	}
	require.Contains(t, string(out), "main.main") // it is a list of what calls what
}
