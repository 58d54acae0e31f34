package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/containers"
)

// A Part is one of the things that a container consists of. All of them go by
// the container's id. What undoes a container that is half made, what removes
// one, and what sweeps up after a program that was killed, go over one list of
// parts.
type Part interface {
	// String names the part, for errors.
	String() string

	// Remove removes what there is of it. What is gone already is no error. Of
	// a container that has no record, c has only the id.
	Remove(ctx context.Context, c containers.Container) error

	// Orphans names the containers that have nothing else to be found by, or no
	// owner any more, and of which there is something.
	Orphans(ctx context.Context) ([]string, error)
}

// parts are those of a container. The first go one after the other: a process
// before what it uses, and the record next, so that a kill in the middle leaves
// what Orphans finds. The rest goes at once.
func (e *Engine) parts() (first, rest []Part) {
	return []Part{taskPart{e}, recordPart{e}}, []Part{filesPart{e}, layerPart{e}, quotaPart{e}, usersPart{e}, namePart{e}, originPart{e}}
}

// Remove deletes a container, running or not, with all of its parts. What is
// gone already is no error. What can't be removed is owed.
func (e *Engine) Remove(ctx context.Context, c containers.Container) error {
	if c.ID == "" {
		return errors.New("delete container: no id")
	}
	first, rest := e.parts()
	var errs []error
	for _, p := range first {
		errs = append(errs, e.remove(ctx, c, p))
	}
	return errors.Join(append(errs, e.removeAll(ctx, c, rest))...)
}

// RemoveEnded is Remove for a container whose processes have ended, and of which nothing
// is to outlast the program: no part of it waits for another. letGo has the runtime let
// go of what it has of it, in place of the task's own removal.
func (e *Engine) RemoveEnded(ctx context.Context, c containers.Container, letGo func(context.Context) error) error {
	first, rest := e.parts()
	gone := make(chan error, 1)
	go func() { gone <- e.undo(ctx, "delete task of "+c.ID, letGo) }()
	err := e.removeAll(ctx, c, append(first[1:], rest...))
	return errors.Join(<-gone, err)
}

func (e *Engine) remove(ctx context.Context, c containers.Container, p Part) error {
	return e.undo(ctx, fmt.Sprintf("delete %s of %s", p, c.ID), func(ctx context.Context) error { return p.Remove(ctx, c) })
}

// removeAll removes parts at once.
func (e *Engine) removeAll(ctx context.Context, c containers.Container, parts []Part) error {
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for n, p := range parts {
		wg.Go(func() { errs[n] = e.remove(ctx, c, p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// orphans names the containers that are to be swept, each once.
func (e *Engine) orphans(ctx context.Context) (ids []string, err error) {
	first, rest := e.parts()
	var errs []error
	for _, p := range append(first, rest...) {
		found, err := p.Orphans(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep %s: %w", p, err))
		}
		ids = append(ids, found...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), errors.Join(errs...)
}
