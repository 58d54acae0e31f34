package body

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/spec"
)

// Whatever ends an attempt badly, an error or a panic, all is undone, the last first,
// and what could not be is in the error.
func TestAttempt(t *testing.T) {
	t.Parallel()
	failing, stuck := errors.New("failing"), errors.New("stuck")
	for what, do := range map[string]func() error{
		"success": func() error { return nil },
		"error":   func() error { return failing },
		"panic":   func() error { panic(failing) },
	} {
		t.Run(what, func(t *testing.T) {
			e := &engine.Engine{Namespace: "test"}
			e.Init()
			b := &Body{e: e}
			var undone []int
			err := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = fmt.Errorf("panic: %w", p.(error))
					}
				}()
				return b.attempt(t.Context(), func(context.Context) error {
					b.Undo.Push(func() error { undone = append(undone, 1); return stuck })
					b.Undo.Push(func() error { undone = append(undone, 2); return nil })
					return do()
				})
			}()
			if what == "success" {
				require.NoError(t, err)
				require.Empty(t, undone)
				require.ErrorIs(t, b.Discard(), stuck)
			} else {
				require.ErrorIs(t, err, failing)
			}
			require.Equal(t, what == "error", errors.Is(err, stuck))
			require.Equal(t, []int{2, 1}, undone)
		})
	}
}

// What an image declares is mounted, but where the caller mounts something, and only so
// much of it.
func TestDeclaredVolumes(t *testing.T) {
	t.Parallel()
	image := func(paths ...string) (img ocispec.ImageConfig) {
		img.Volumes = map[string]struct{}{}
		for _, p := range paths {
			img.Volumes[p] = struct{}{}
		}
		return img
	}
	list, err := declaredVolumes(image("/data/in", "data/", "/data", "/own"), []spec.Mount{{Target: "/own/"}})
	require.NoError(t, err)
	require.Equal(t, []spec.Mount{{Kind: spec.Volume, Target: "/data"}, {Kind: spec.Volume, Target: "/data/in"}}, list)
	_, err = declaredVolumes(image("/proc/x"), nil)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	var many []string
	for n := range maxDeclared + 1 {
		many = append(many, fmt.Sprint("/", n))
	}
	_, err = declaredVolumes(image(many...), nil)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	_, err = declaredVolumes(image(many[1:]...), nil)
	require.NoError(t, err)
}

func TestOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, err := Over([]specs.Mount{{Type: "bind", Source: dir, Options: []string{"rbind"}, Destination: "/unused"}}, ocispec.ImageConfig{User: "me"})
	require.NoError(t, err)
	require.Equal(t, "me", g.Image.User)
	require.Len(t, g.Root, 1)
	require.Equal(t, []string{"bind", dir, "", "rbind"}, []string{g.Root[0].Type, g.Root[0].Source, g.Root[0].Target, g.Root[0].Options[0]})
	for _, bad := range [][]specs.Mount{nil, {{Type: "bind", Source: "relative"}}, {{Type: "bind", Source: "/proc/self/stat"}}} {
		_, err := Over(bad, ocispec.ImageConfig{})
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	}
	_, err = Over([]specs.Mount{{Type: "bind", Source: dir + "/missing"}}, ocispec.ImageConfig{})
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}
