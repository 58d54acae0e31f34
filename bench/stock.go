package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/introspection"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins"
	srv "github.com/containerd/containerd/v2/plugins/services"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"

	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/diff/walking/plugin"
	_ "github.com/containerd/containerd/v2/plugins/events"
	_ "github.com/containerd/containerd/v2/plugins/gc"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/services/content"
	_ "github.com/containerd/containerd/v2/plugins/services/diff"
	_ "github.com/containerd/containerd/v2/plugins/services/images"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/services/snapshots"
	_ "github.com/containerd/containerd/v2/plugins/services/warning"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/overlay/plugin"
)

// stocked are the plugins that a pull needs.
var stocked = map[plugin.Type][]string{
	plugins.EventPlugin:    {"exchange"},
	plugins.ContentPlugin:  {"content"},
	plugins.SnapshotPlugin: {"overlayfs"},
	plugins.MetadataPlugin: {"bolt"},
	plugins.GCPlugin:       {"scheduler"},
	plugins.LeasePlugin:    {"manager"},
	plugins.DiffPlugin:     {"walking"},
	plugins.WarningPlugin:  {plugins.DeprecationsPlugin},
	plugins.ServicePlugin:  {srv.ContentService, srv.SnapshotsService, srv.ImagesService, srv.DiffService, srv.NamespacesService, srv.IntrospectionService},
}

// stock starts containerd's services as they are, with their defaults.
func (b *bench) stock(ctx context.Context, root string) (*client.Client, error) {
	set := plugin.NewPluginSet()
	for _, r := range registry.Graph(func(r *plugin.Registration) bool { return !slices.Contains(stocked[r.Type], r.ID) }) {
		ic := plugin.NewContext(ctx, set, map[string]string{
			plugins.PropertyRootDir:  filepath.Join(root, r.URI()),
			plugins.PropertyStateDir: filepath.Join(root, "state", r.URI()),
		})
		ic.Config = r.Config
		ic.RegisterReadiness = func() func() { return func() {} }
		if err := os.MkdirAll(ic.Properties[plugins.PropertyRootDir], 0o711); err != nil {
			return nil, err
		}
		p := r.Init(ic)
		if err := set.Add(p); err != nil {
			return nil, err
		}
		i, err := p.Instance()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.URI(), err)
		}
		if c, ok := i.(io.Closer); ok {
			b.later(c.Close)
		}
	}
	return client.New("", client.WithServices(
		client.WithContentStore(found[content.Store](set, plugins.ServicePlugin, srv.ContentService)),
		client.WithSnapshotters(found[map[string]snapshots.Snapshotter](set, plugins.ServicePlugin, srv.SnapshotsService)),
		client.WithImageClient(found[imagesapi.ImagesClient](set, plugins.ServicePlugin, srv.ImagesService)),
		client.WithDiffClient(found[diffapi.DiffClient](set, plugins.ServicePlugin, srv.DiffService)),
		client.WithLeasesService(found[leases.Manager](set, plugins.LeasePlugin, "manager")),
		client.WithNamespaceClient(found[namespacesapi.NamespacesClient](set, plugins.ServicePlugin, srv.NamespacesService)),
		client.WithIntrospectionService(found[introspection.Service](set, plugins.ServicePlugin, srv.IntrospectionService)),
	))
}

// found gives what a plugin that runs offers.
func found[T any](set *plugin.Set, t plugin.Type, id string) T {
	i, err := set.Get(t, id).Instance()
	v, ok := i.(T)
	if err != nil || !ok {
		panic(errors.Join(err, fmt.Errorf("plugin %s.%s is a %T", t, id, i)))
	}
	return v
}
