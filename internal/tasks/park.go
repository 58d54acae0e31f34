package tasks

import (
	"context"
	"encoding/json"
	"fmt"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ctorhq/ctor/internal/shim"
	"github.com/ctorhq/ctor/internal/shim/link"
)

// verb is one of a shim's that make a container.
type verb func(*shim.Shim, context.Context, *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error)

// Park is Create for a container whose command comes later, by Give. It is attached.
// Where its shim can't make one, the error is errdefs.ErrNotImplemented.
func (s *Service) Park(ctx context.Context, r *api.CreateTaskRequest) (*api.CreateTaskResponse, error) {
	return s.create(ctx, r, (*shim.Shim).Park)
}

// Give gives a parked container its command. Like Create it can't be stopped halfway.
// After an error the container can only be deleted.
func (s *Service) Give(ctx context.Context, id, name string, p *specs.Process, io cio.Config) error {
	b, err := json.Marshal(link.Command{Process: p, Name: name})
	if err != nil {
		return fmt.Errorf("command: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	_, err = call(context.WithoutCancel(ctx), s, id, (*shim.Shim).Give, &taskapi.ExecProcessRequest{
		ID: id, Terminal: io.Terminal, Stdin: io.Stdin, Stdout: io.Stdout, Stderr: io.Stderr, Spec: &anypb.Any{Value: b},
	})
	return err
}
