package services

import (
	"fmt"

	"github.com/containerd/containerd/api/services/diff/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/introspection"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/plugins"
	srv "github.com/containerd/containerd/v2/plugins/services"
	"github.com/containerd/plugin"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// newClient joins the services to a client.
func (s *Services) newClient(events *exchange, db *metadata.DB) (*containerd.Client, error) {
	w := wiring{set: s.set}
	opts := []containerd.ServicesOpt{
		containerd.WithEventService(events),
		containerd.WithTaskClient(s.tasks),
		containerd.WithContainerStore(s.records),
		wire(&w, plugins.LeasePlugin, "manager", func(m leases.Manager) containerd.ServicesOpt {
			return containerd.WithLeasesService(&lessor{Manager: m, update: db.Update})
		}),
		wire(&w, plugins.SandboxStorePlugin, "local", func(s sandbox.Store) containerd.ServicesOpt { return containerd.WithSandboxStore(s) }),
		wire(&w, plugins.TransferPlugin, "local", func(t transfer.Transferrer) containerd.ServicesOpt { return containerd.WithTransferService(t) }),
		wire(&w, plugins.MountManagerPlugin, "bolt", func(m mount.Manager) containerd.ServicesOpt { return containerd.WithMountManager(m) }),
		wire(&w, plugins.ServicePlugin, srv.ContentService, func(c content.Store) containerd.ServicesOpt { return containerd.WithContentStore(c) }),
		wire(&w, plugins.ServicePlugin, srv.ImagesService, func(c imagesapi.ImagesClient) containerd.ServicesOpt { return containerd.WithImageClient(c) }),
		wire(&w, plugins.ServicePlugin, srv.SnapshotsService, func(m map[string]snapshots.Snapshotter) containerd.ServicesOpt {
			shared := map[string]snapshots.Snapshotter{}
			for name, sn := range m {
				shared[name] = unclosed{sn}
			}
			if s.layers != nil {
				shared[overlayfs] = s.layers
			}
			return containerd.WithSnapshotters(shared)
		}),
		wire(&w, plugins.ServicePlugin, srv.DiffService, func(c diff.DiffClient) containerd.ServicesOpt { return containerd.WithDiffClient(c) }),
		wire(&w, plugins.ServicePlugin, srv.NamespacesService, func(c namespacesapi.NamespacesClient) containerd.ServicesOpt {
			return containerd.WithNamespaceClient(c)
		}),
		// Little needs it, but NewContainer panics without it.
		wire(&w, plugins.ServicePlugin, srv.IntrospectionService, func(i introspection.Service) containerd.ServicesOpt {
			return containerd.WithIntrospectionService(introspector{i, s.tasks})
		}),
	}
	if w.err != nil {
		return nil, w.err
	}
	return containerd.New("",
		containerd.WithServices(opts...),
		containerd.WithDefaultNamespace(s.cfg.Namespace),
		containerd.WithDefaultRuntime(link.Runtime))
}

// unclosed is a snapshotter whose clients may close it, as they may one behind a
// socket: it ends with the engine.
type unclosed struct{ snapshots.Snapshotter }

// Close implements snapshots.Snapshotter.
func (unclosed) Close() error { return nil }

// wiring keeps the first error while instances are looked up.
type wiring struct {
	set *plugin.Set
	err error
}

func wire[T any](w *wiring, t plugin.Type, id string, opt func(T) containerd.ServicesOpt) containerd.ServicesOpt {
	i, err := instance[T](w.set, t, id)
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		return nil
	}
	return opt(i)
}

func instance[T any](set *plugin.Set, t plugin.Type, id string) (T, error) {
	var none T
	p := set.Get(t, id)
	if p == nil {
		return none, fmt.Errorf("no plugin %s.%s", t, id)
	}
	i, err := p.Instance()
	if err != nil {
		return none, fmt.Errorf("plugin %s.%s: %w", t, id, err)
	}
	v, ok := i.(T)
	if !ok {
		return none, fmt.Errorf("plugin %s.%s is a %T", t, id, i)
	}
	return v, nil
}
