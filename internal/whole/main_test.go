// Package whole holds no code, only tests: of what no package can show alone.
// Programs are killed in the middle of their work, shims die, engines close while
// calls are under way, a containerd that runs is dialed, and nothing may be left.
package whole

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

var helpers = map[string]func(args []string) error{
	"open":    helpOpen,
	"hold":    helpHold,
	"work":    helpWork,
	"churn":   helpChurn,
	"pull":    helpPull,
	"grow":    helpGrow,
	"quiet":   helpQuiet,
	"dialed":  helpDialed,
	"dirty":   helpDirty,
	"lacking": helpLacking,
	"scarce":  helpScarce,
	"nested":  helpNested,

	"mirror":   helpMirror,
	"download": helpDownload,
}

func TestMain(m *testing.M) {
	fixture.RunProgram(helpers)
	os.Exit(m.Run())
}

// ready tells the parent to go on, and waits for it to close our input.
func ready() {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// helpOpen opens a root and says how that went.
func helpOpen(args []string) error {
	e, err := ctor.Open(context.Background(), ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	return e.Close()
}

// helpHold opens a root, runs a container in it, and holds it.
func helpHold(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	if len(args) > 1 {
		img, err := image.Get(ctx, e, args[1])
		if err != nil {
			return err
		}
		for _, name := range args[2:] {
			cfg := container.Config{Name: name, Args: []string{"sleep", "1000"}, Detach: strings.HasPrefix(name, "detached")}
			if _, err := img.Run(ctx, cfg); err != nil {
				return err
			}
		}
	}
	ready()
	return e.Close()
}

// lockedBuffer is written to by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
