package serve

import (
	"context"

	"github.com/containerd/ttrpc"

	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// register serves the task API in both its versions. Their messages are equal
// on the wire; version 3's Go package would bring gRPC, whose init costs every
// container a start.
func register(s *ttrpc.Server, svc *task.Service) {
	desc := &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"State":      method(svc.State),
		"Create":     method(svc.Create),
		"Start":      method(svc.Start),
		"Delete":     method(svc.Delete),
		"Pids":       method(svc.Pids),
		"Pause":      method(svc.Pause),
		"Resume":     method(svc.Resume),
		"Checkpoint": method(svc.Checkpoint),
		"Kill":       method(svc.Kill),
		"Exec":       method(svc.Exec),
		"ResizePty":  method(svc.ResizePty),
		"CloseIO":    method(svc.CloseIO),
		"Update":     method(svc.Update),
		"Wait":       method(svc.Wait),
		"Stats":      method(svc.Stats),
		"Connect":    method(svc.Connect),
		"Shutdown":   method(svc.Shutdown),
	}}
	s.RegisterService("containerd.task.v2.Task", desc)
	s.RegisterService("containerd.task.v3.Task", desc)
	s.RegisterService(link.Parking, &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"Park": method(svc.Park),
		"Give": method(svc.Give),
	}})
	s.RegisterService(link.Expecting, &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"Expect": method(svc.Expect),
		"Forget": method(svc.Forget),
	}})
}

func method[Q, A any](f func(context.Context, *Q) (*A, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(any) error) (any, error) {
		q := new(Q)
		if err := unmarshal(q); err != nil {
			return nil, err
		}
		return f(ctx, q)
	}
}
