package command

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	runc "github.com/containerd/go-runc"

	"github.com/ctorhq/ctor/internal/shim/task"
)

// Describe asks the command at path, or by its name on PATH, what it is.
func Describe(ctx context.Context, binary string) (task.About, error) {
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return task.About{}, fmt.Errorf("%s --version: %w", binary, err)
	}
	about := parseVersion(string(out))
	about.Name = filepath.Base(binary)
	// runc has the verb since 1.1, crun since 1.8.6.
	about.Features, _ = (&runc.Runc{Command: binary}).Features(ctx)
	return about, nil
}

// parseVersion reads what runc and crun say of themselves.
func parseVersion(said string) task.About {
	first, rest, _ := strings.Cut(said, "\n")
	_, version, _ := strings.Cut(first, " version ")
	return task.About{
		Version: strings.TrimSpace(version),
		Seccomp: strings.Contains(rest, "libseccomp: ") || strings.Contains(rest, "+SECCOMP"),
	}
}
