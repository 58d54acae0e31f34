package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/bundle"
	"github.com/ctorhq/ctor/internal/shim"
)

// root is where the shims of containers are found again.
const root = "/run/ctor-oci"

// container is one by its id: there, or not.
type container struct{ id, dir string }

func at(id string) (container, error) {
	if err := identifiers.Validate(id); err != nil { // it becomes part of a path
		return container{}, err
	}
	return container{id, filepath.Join(root, id)}, nil
}

// create starts a shim, and has it make the container.
func (c container) create(ctx context.Context, dir, pidFile string) (err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	path, err := shim.Find("")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return err
	}
	program := shim.Program{Path: path}
	defer program.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(c.dir))
		}
	}()
	s, err := program.Detach(c.dir)
	if err != nil {
		return err
	}
	defer s.Close()
	out, errs := stream(os.Stdout), stream(os.Stderr)
	made, err := s.Create(ctx, &taskapi.CreateTaskRequest{ID: c.id, Bundle: dir, Stdout: out, Stderr: errs})
	if err != nil {
		s.Stop(ctx, c.id)
		return errgrpc.ToNative(err)
	}
	if pidFile == "" {
		return nil
	}
	return os.WriteFile(pidFile, []byte(strconv.Itoa(int(made.Pid))), 0o644)
}

// stream tells the shim where it finds a stream of this program, which the container
// keeps when the program ends.
func stream(f *os.File) string {
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
	if st, err := f.Stat(); err == nil && st.Mode()&fs.ModeNamedPipe != 0 {
		return path
	}
	return "file://" + path
}

// with does something with the container's shim.
func (c container) with(do func(*shim.Shim) error) error {
	sockets, err := filepath.Glob(filepath.Join(c.dir, shim.Sockets))
	if err != nil {
		return err
	}
	if len(sockets) == 0 {
		return fmt.Errorf("there is no such container: %w", errdefs.ErrNotFound)
	}
	s, err := shim.Connect(sockets[0])
	if err != nil {
		return err
	}
	defer s.Close()
	return errgrpc.ToNative(do(s))
}

func (c container) start(ctx context.Context) error {
	return c.with(func(s *shim.Shim) error {
		_, err := s.Start(ctx, &taskapi.StartRequest{ID: c.id})
		return err
	})
}

// state writes it as the specification has it.
func (c container) state(ctx context.Context, to io.Writer) error {
	return c.with(func(s *shim.Shim) error {
		r, err := s.State(ctx, &taskapi.StateRequest{ID: c.id})
		if err != nil {
			return err
		}
		spec, err := bundle.Spec(r.Bundle)
		if err != nil {
			return err
		}
		state := specs.State{
			Version: specs.Version, ID: c.id, Bundle: r.Bundle, Annotations: spec.Annotations,
			Status: specs.ContainerState(strings.ToLower(r.Status.String())),
		}
		if r.Status != tasktypes.Status_STOPPED {
			state.Pid = int(r.Pid)
		}
		e := json.NewEncoder(to)
		e.SetIndent("", "  ")
		return e.Encode(state)
	})
}

// kill sends a signal, by its number or its name, with or without SIG.
func (c container) kill(ctx context.Context, name string) error {
	sig := unix.SIGTERM
	if n, err := strconv.Atoi(name); err == nil {
		sig = unix.Signal(n)
	} else if name != "" {
		if sig = unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")); sig == 0 {
			return fmt.Errorf("signal %q: %w", name, errdefs.ErrInvalidArgument)
		}
	}
	return c.with(func(s *shim.Shim) error {
		_, err := s.Kill(ctx, &taskapi.KillRequest{ID: c.id, Signal: uint32(sig)})
		return err
	})
}

// end kills what runs of a container, and waits for its end.
func (c container) end(ctx context.Context) error {
	return c.with(func(s *shim.Shim) error {
		_, err := s.Kill(ctx, &taskapi.KillRequest{ID: c.id, Signal: uint32(unix.SIGKILL), All: true})
		if err = errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		_, err = s.Wait(ctx, &taskapi.WaitRequest{ID: c.id})
		return err
	})
}

// delete deletes a container that has ended. Its shim ends with it.
func (c container) delete(ctx context.Context) error {
	err := c.with(func(s *shim.Shim) error {
		r, err := s.State(ctx, &taskapi.StateRequest{ID: c.id})
		if err != nil {
			return err
		}
		if r.Status != tasktypes.Status_STOPPED { // the shim would end one that was not started
			return fmt.Errorf("it is %s: %w", strings.ToLower(r.Status.String()), errdefs.ErrFailedPrecondition)
		}
		// The shim ends with its container, which may overtake its answer.
		if _, err := s.Delete(ctx, &taskapi.DeleteRequest{ID: c.id}); err != nil && !errors.Is(err, ttrpc.ErrClosed) {
			return err
		}
		<-s.Gone()
		return nil
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(c.dir)
}
