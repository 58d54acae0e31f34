package services

import (
	"slices"

	"github.com/containerd/containerd/v2/plugins"
	srv "github.com/containerd/containerd/v2/plugins/services"
	"github.com/containerd/plugin"

	// Each registers the plugins named in listed.
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/diff/walking/plugin"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/mount"
	_ "github.com/containerd/containerd/v2/plugins/services/content"
	_ "github.com/containerd/containerd/v2/plugins/services/diff"
	_ "github.com/containerd/containerd/v2/plugins/services/images"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/services/sandbox"
	_ "github.com/containerd/containerd/v2/plugins/services/snapshots"
	_ "github.com/containerd/containerd/v2/plugins/services/warning"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/native/plugin"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/overlay/plugin"
	_ "github.com/containerd/containerd/v2/plugins/transfer"
)

// listed names the plugins of a set, by type, then id. Events, collection,
// container records and tasks are ours: exchange, collector, records, and
// package tasks.
var listed = map[plugin.Type][]string{
	plugins.ContentPlugin:      {"content"},
	plugins.SnapshotPlugin:     {overlayfs, "native"},
	plugins.MetadataPlugin:     {"bolt"},
	plugins.MountManagerPlugin: {"bolt"},
	plugins.LeasePlugin:        {"manager"},
	plugins.DiffPlugin:         {"walking"},
	plugins.WarningPlugin:      {plugins.DeprecationsPlugin},
	plugins.SandboxStorePlugin: {"local"},
	plugins.TransferPlugin:     {"local"},
	plugins.ServicePlugin: {
		srv.ContentService, srv.SnapshotsService, srv.ImagesService,
		srv.DiffService, srv.NamespacesService, srv.IntrospectionService,
	},
}

const overlayfs = "overlayfs"

func unlisted(r *plugin.Registration) bool { return !slices.Contains(listed[r.Type], r.ID) }
