package services

import (
	"context"
	"slices"

	api "github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/introspection"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/proto"

	"github.com/ctorhq/ctor/internal/tasks"
)

// introspector also describes the runtime, which is not a plugin here. It doesn't
// say of a snapshotter that it can be given a layer before the layers below: a
// client would unpack each layer on its own, and some layers can't be understood
// without those below, by which a directory that the layer only names has its mode.
type introspector struct {
	introspection.Service
	tasks *tasks.Service
}

// Plugins implements introspection.Service.
func (i introspector) Plugins(ctx context.Context, filters ...string) (*api.PluginsResponse, error) {
	all, err := i.Service.Plugins(ctx, filters...)
	if err != nil {
		return nil, err
	}
	all = proto.Clone(all).(*api.PluginsResponse) // the service hands out its own
	for _, p := range all.Plugins {
		p.Capabilities = slices.DeleteFunc(p.Capabilities, func(c string) bool { return c == snapshots.RebaseCap })
	}
	return all, nil
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
