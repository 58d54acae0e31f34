package services

import (
	"context"

	api "github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/introspection"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/typeurl/v2"

	"github.com/ctorhq/ctor/internal/tasks"
)

// introspector also describes the runtime, which is not a plugin here.
type introspector struct {
	introspection.Service
	tasks *tasks.Service
}

// PluginInfo implements introspection.Service.
func (i introspector) PluginInfo(ctx context.Context, kind, id string, options any) (*api.PluginInfoResponse, error) {
	asked, ok := options.(*types.RuntimeRequest)
	if kind != plugins.RuntimePluginV2.String() || id != "task" || !ok {
		return i.Service.PluginInfo(ctx, kind, id, options)
	}
	info, err := i.tasks.Runtime(ctx, asked.RuntimePath)
	if err != nil {
		return nil, err
	}
	extra, err := typeurl.MarshalAnyToProto(info)
	if err != nil {
		return nil, err
	}
	return &api.PluginInfoResponse{Plugin: &api.Plugin{Type: kind, ID: id}, Extra: extra}, nil
}
