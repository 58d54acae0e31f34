// Package services runs containerd's own services inside this process: the
// content store, the metadata database, snapshotters, differ, leases, garbage
// collection, events and tasks, joined by direct calls. Nothing listens, and
// two sets with different roots live side by side.
//
// containerd's server package would do the same for a daemon, but it changes
// process-wide state and lies outside containerd's stable API. So the plugin
// graph is walked here, over a fixed list: a program that links further
// containerd plugins does not get them started in its engine.
package services

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"

	_ "github.com/ctorhq/ctor/internal/shim/self" // the shim, unless one is installed
	"github.com/ctorhq/ctor/internal/tasks"
)

// Config says where a set of services lives.
type Config struct {
	Root        string                        // content, metadata, snapshots
	State       string                        // bundles of running containers
	Namespace   string                        // the client's default
	Shim        string                        // path of the shim
	Owner       string                        // label of snapshots that end with the program
	Scratch     string                        // label of snapshots that are kept out of the database
	Cgroups     func(namespace string) string // where those of containers are
	Snapshotter string                        // must come up; the others may be missing on this host
}

// Services is a running set.
type Services struct {
	cfg       Config
	client    *containerd.Client
	records   *records
	layers    *layers // nil: this host has no overlay
	tasks     *tasks.Service
	collector *collector
	set       *plugin.Set
	cancel    context.CancelFunc
	closers   []closer // in the order of their start
}

type closer struct {
	name string
	io.Closer
}

// Start brings the services up. Log lines go to the logger in ctx, for as long
// as the services run; a cancelled ctx does not end them.
func Start(ctx context.Context, cfg Config) (_ *Services, err error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Services{cfg: cfg, set: plugin.NewPluginSet(), cancel: cancel}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	events := newExchange()
	for _, r := range graph(events) {
		if err := s.init(ctx, r); err != nil {
			return nil, fmt.Errorf("start %s: %w", r.URI(), err)
		}
	}
	db, err := instance[*metadata.DB](s.set, plugins.MetadataPlugin, "bolt")
	if err != nil {
		return nil, err
	}
	if s.collector, err = instance[*collector](s.set, plugins.GCPlugin, gcPlugin.ID); err != nil {
		return nil, err
	}
	for _, name := range s.Snapshotters() {
		sn, err := instance[*thorough](s.set, plugins.SnapshotPlugin, name)
		if err != nil {
			return nil, err
		}
		s.collector.after = append(s.collector.after, sn.settle)
	}
	if err := s.holdLayers(db); err != nil {
		return nil, fmt.Errorf("start layers: %w", err)
	}
	s.records = newRecords(metadata.NewContainerStore(db), events)
	s.tasks, err = tasks.New(tasks.Config{
		Dir:        filepath.Join(cfg.State, "tasks"),
		Containers: s.records,
		Content:    db.ContentStore(),
		Events:     fromShim{events},
		Shim:       cfg.Shim,
		Cgroups:    cfg.Cgroups,
	})
	if err != nil {
		return nil, fmt.Errorf("start tasks: %w", err)
	}
	s.closers = append(s.closers, closer{"tasks", s.tasks})
	s.client, err = s.newClient(events, db)
	return s, err
}

// holdLayers puts layers before the overlay snapshotter.
func (s *Services) holdLayers(db *metadata.DB) (err error) {
	overlay := db.Snapshotter(overlayfs)
	if overlay == nil {
		return nil
	}
	s.layers, err = newLayers(overlay, filepath.Join(s.cfg.State, "layers"), s.cfg.Scratch, s.cfg.Owner)
	if err == nil {
		s.collector.before = s.layers.bases.dropUnused
	}
	return err
}

// graph gives the plugins in the order of their needs.
func graph(events *exchange) []plugin.Registration {
	all := []plugin.Registration{{
		Type:   plugins.EventPlugin,
		ID:     "exchange",
		InitFn: func(*plugin.InitContext) (any, error) { return events, nil },
	}}
	for _, r := range registry.Graph(unlisted) {
		if before := fronts[r.Type]; before != nil {
			r.InitFn = front(r.InitFn, before)
		}
		if r.Type == plugins.SnapshotPlugin {
			r.InitFn = thoroughly(r.InitFn)
		}
		all = append(all, r)
		if r.Type == plugins.MetadataPlugin {
			all = append(all, gcPlugin)
		}
	}
	return all
}

// fronts stand before plugins that make files: the files' modes and places must
// not depend on the program.
var fronts = map[plugin.Type]func(ic *plugin.InitContext, theirs any) (any, error){
	plugins.SnapshotPlugin: newMasked,
	plugins.DiffPlugin:     newApplier,
}

func front(theirs func(*plugin.InitContext) (any, error), before func(*plugin.InitContext, any) (any, error)) func(*plugin.InitContext) (any, error) {
	return func(ic *plugin.InitContext) (any, error) {
		i, err := theirs(ic)
		if err != nil {
			return nil, err
		}
		return before(ic, i)
	}
}

// init starts one plugin.
func (s *Services) init(ctx context.Context, r plugin.Registration) error {
	ic := plugin.NewContext(ctx, s.set, map[string]string{
		plugins.PropertyRootDir:  filepath.Join(s.cfg.Root, r.URI()),
		plugins.PropertyStateDir: filepath.Join(s.cfg.State, r.URI()),
	})
	ic.Config = clone(r.Config)
	ic.RegisterReadiness = func() func() { return func() {} }
	p := r.Init(ic)
	if err := s.set.Add(p); err != nil {
		return err
	}
	i, err := p.Instance()
	if err != nil {
		if r.Type == plugins.SnapshotPlugin && r.ID != s.cfg.Snapshotter {
			return nil // this host lacks the file system, and the caller did not ask for it
		}
		return err
	}
	if c, ok := i.(io.Closer); ok {
		s.closers = append(s.closers, closer{r.URI(), c})
	}
	return nil
}

// Client is containerd's client over the services.
func (s *Services) Client() *containerd.Client { return s.client }

// Tasks is the task service behind the client.
func (s *Services) Tasks() *tasks.Service { return s.tasks }

// Snapshotters names the snapshotters that came up.
func (s *Services) Snapshotters() []string {
	var names []string
	for _, id := range listed[plugins.SnapshotPlugin] {
		if p := s.set.Get(plugins.SnapshotPlugin, id); p != nil && p.Err() == nil {
			names = append(names, id)
		}
	}
	return names
}

// Close ends the services, the last started first.
func (s *Services) Close() error {
	var errs []error
	if s.collector != nil {
		if err := s.finish(); err != nil {
			errs = append(errs, fmt.Errorf("collect garbage: %w", err))
		}
		s.collector = nil
	}
	s.cancel()
	for _, c := range slices.Backward(s.closers) {
		if err := c.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", c.name, err))
		}
	}
	s.closers = nil
	return errors.Join(errs...)
}

// finish collects what is left to collect, and ends the collecting: it needs
// all that is closed after it.
func (s *Services) finish() error {
	var err error
	if s.layers != nil {
		err = errors.Join(s.layers.clear(), s.layers.bases.dropUnused(s.collector.life))
	}
	return errors.Join(err, s.collector.finish(), s.collector.Close())
}

// clone copies a plugin's default configuration: the registry keeps one for
// the whole process, and plugins write into theirs.
func clone(config any) any {
	if config == nil {
		return nil
	}
	c := reflect.New(reflect.TypeOf(config).Elem())
	c.Elem().Set(reflect.ValueOf(config).Elem())
	return c.Interface()
}
