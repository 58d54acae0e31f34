package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/volumes"
)

// ErrInUse is the class of a Remove of a volume that a container has.
var ErrInUse = fmt.Errorf("it is in use: %w", errdefs.ErrInvalidArgument)

// Store is where the volumes of the engine's namespace are.
func (e *Engine) Store() volumes.Store {
	return volumes.Store{Dir: filepath.Join(e.Volumes, e.Namespace)}
}

// Anonymous is the directory of a volume that has no name: it is among the files of
// its container, and goes with them.
func (e *Engine) Anonymous(id string, n int) string {
	return filepath.Join(e.Dir(id), "volumes", strconv.Itoa(n))
}

// VolumeUsers names the containers that have a volume: all there are, whatever
// program they belong to, running or not.
func (e *Engine) VolumeUsers(ctx context.Context, name string) (users []string, err error) {
	all, err := e.Client.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		r, _ := record.Of(c)
		if !slices.Contains(r.Volumes, name) {
			continue
		}
		if r.Name == "" {
			r.Name = c.ID
		}
		users = append(users, r.Name)
	}
	slices.Sort(users)
	return users, nil
}

// RemoveVolume removes a volume that no container has.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	left, err := e.Store().Bury(ctx, name, func() error {
		users, err := e.VolumeUsers(ctx, name)
		if err == nil && len(users) > 0 {
			err = fmt.Errorf("container %s has it: %w", some(users), ErrInUse)
		}
		return err
	})
	if err != nil {
		return err
	}
	own, cancel := e.Cleanup(ctx)
	defer cancel()
	return e.undo(own, "delete volume "+name, func(context.Context) error { return rootfs.Discard(left) })
}

// some lists names for an error, which is a sentence.
func some(names []string) string {
	const most = 5
	if n := len(names); n > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n-most)
	}
	return strings.Join(names, ", ")
}

// Unmake removes a volume that a call has made for a container that it then failed to
// make. Another container may have taken it meanwhile.
func (e *Engine) Unmake(ctx context.Context, volume string) error {
	err := e.RemoveVolume(ctx, volume)
	if errors.Is(err, ErrInUse) || errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
