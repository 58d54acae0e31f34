package tasks

import (
	"context"
	"path/filepath"
	"slices"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ctorhq/ctor/internal/shim"
)

// Get gives a process's state.
func (s *Service) Get(ctx context.Context, r *api.GetRequest, _ ...grpc.CallOption) (*api.GetResponse, error) {
	st, err := call(ctx, s, r.ContainerID, (*shim.Shim).State, &taskapi.StateRequest{ID: r.ContainerID, ExecID: r.ExecID})
	if err != nil {
		return nil, err
	}
	return &api.GetResponse{Process: process(r.ContainerID, st)}, nil
}

func process(container string, st *taskapi.StateResponse) *tasktypes.Process {
	return &tasktypes.Process{
		ContainerID: container, ID: st.ID, Pid: st.Pid, Status: st.Status,
		Stdin: st.Stdin, Stdout: st.Stdout, Stderr: st.Stderr, Terminal: st.Terminal,
		ExitStatus: st.ExitStatus, ExitedAt: st.ExitedAt,
	}
}

// Detached names the containers of a namespace that have a shim of their own.
func (s *Service) Detached(namespace string) []string {
	return s.names(namespace, (*tended).Detached)
}

func (s *Service) names(namespace string, of func(*tended) bool) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, t := range s.tasks {
		if filepath.Dir(k) == namespace && of(t.shim) {
			ids = append(ids, filepath.Base(k))
		}
	}
	slices.Sort(ids)
	return ids
}

// ids gives the tasks of ctx's namespace.
func (s *Service) ids(ctx context.Context) ([]string, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return s.names(ns, func(*tended) bool { return true }), nil
}

// List gives the states of all tasks. One that goes away meanwhile is left out.
func (s *Service) List(ctx context.Context, _ *api.ListTasksRequest, _ ...grpc.CallOption) (*api.ListTasksResponse, error) {
	ids, err := s.ids(ctx)
	if err != nil {
		return nil, err
	}
	list := &api.ListTasksResponse{}
	for _, id := range ids {
		st, err := call(ctx, s, id, (*shim.Shim).State, &taskapi.StateRequest{ID: id})
		if passing(err) {
			continue
		}
		if isStrange(err) {
			list.Tasks = append(list.Tasks, &tasktypes.Process{ContainerID: id, ID: id, Status: tasktypes.Status_UNKNOWN})
			continue
		}
		if err != nil {
			return nil, err
		}
		list.Tasks = append(list.Tasks, process(id, st))
	}
	return list, nil
}

// Metrics gives the cgroup counters of the tasks that match.
func (s *Service) Metrics(ctx context.Context, r *api.MetricsRequest, _ ...grpc.CallOption) (*api.MetricsResponse, error) {
	filter, err := filters.ParseAll(r.Filters...)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	ids, err := s.ids(ctx)
	if err != nil {
		return nil, err
	}
	resp := &api.MetricsResponse{}
	for _, id := range ids {
		if !filter.Match(filters.AdapterFunc(func(path []string) (string, bool) {
			return id, len(path) == 1 && path[0] == "id"
		})) {
			continue
		}
		a, err := call(ctx, s, id, (*shim.Shim).Stats, &taskapi.StatsRequest{ID: id})
		if passing(err) || isStrange(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		resp.Metrics = append(resp.Metrics, &types.Metric{ID: id, Timestamp: timestamppb.Now(), Data: a.Stats})
	}
	return resp, nil
}

func passing(err error) bool {
	err = errgrpc.ToNative(err)
	return errdefs.IsNotFound(err) || errdefs.IsUnavailable(err)
}

// isStrange tells whether a shim speaks another protocol: then nothing more is known.
func isStrange(err error) bool { return errdefs.IsFailedPrecondition(errgrpc.ToNative(err)) }
