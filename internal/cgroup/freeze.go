package cgroup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Thaw ends what keeps processes of the cgroup, and of those below, from going
// on. An error means that the cgroup is gone: nothing is frozen there.
func (g Group) Thaw() {
	name, word := "freezer.state", "THAWED"
	if unified() {
		name, word = "cgroup.freeze", "0"
	}
	dir := g.Dir("freezer")
	if dir == "" {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		write(path, name, word)
		return nil
	})
}

// freezeLimit is how long processes may take to stop. One that waits for a dead
// disk does not, and with version 1 nothing dies before it has.
const freezeLimit = 10 * time.Second

// AwaitFrozen waits until no process goes on. runc does so itself; crun 1.8 only
// tells the kernel to freeze them.
func (g Group) AwaitFrozen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, freezeLimit)
	defer cancel()
	name, frozen := "freezer.state", "FROZEN"
	if unified() {
		name, frozen = "cgroup.events", "frozen 1"
	}
	dir := g.Dir("freezer")
	if dir == "" {
		return nil
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || strings.Contains(string(b), frozen) {
			return nil // an error: the cgroup is gone
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("its processes do not stop: %w", ctx.Err())
		}
	}
}
