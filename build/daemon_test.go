package build

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/cache/remotecache"
	"github.com/moby/buildkit/cache/remotecache/inline"
	"github.com/moby/buildkit/cache/remotecache/local"
	cacheregistry "github.com/moby/buildkit/cache/remotecache/registry"
	"github.com/moby/buildkit/cmd/buildkitd/config"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/frontend"
	stock "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/grpcerrors"
	hosts "github.com/moby/buildkit/util/resolver"
	"google.golang.org/grpc"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry"
)

// Daemon serves a builder as buildkitd does, with its arguments, until it is told to
// end: for BuildKit's own tests (hack/dockerfilesuite). What is tested by it are the
// worker, the executor, the sources and the store; the service around them, which
// this package has no use for, is BuildKit's.
func Daemon(args []string) error {
	flags := flag.NewFlagSet("buildkitd", flag.ContinueOnError)
	file := flags.String("config", "", "")
	root := flags.String("root", "", "")
	address := flags.String("addr", "", "")
	for _, name := range []string{"debug", "oci-worker", "containerd-worker", "oci-worker-gc"} {
		flags.Bool(name, false, "")
	}
	flags.String("oci-worker-labels", "", "")
	flags.String("oci-worker-snapshotter", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, err := config.LoadFile(*file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	e, err := ctor.Open(ctx, ctor.Config{Root: filepath.Join(*root, "engine")})
	if err != nil {
		return err
	}
	defer e.Close()
	b, err := builderOf(e)
	if err != nil {
		return err
	}
	d := &daemon{builder: b, mirrors: cfg.Registries["docker.io"].Mirrors}
	s, err := d.server(ctx, &cfg)
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", strings.TrimPrefix(*address, "unix://"))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, s.Stop)
	if err := s.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

type daemon struct {
	*builder
	mirrors []string // mirrors of Docker Hub
}

func (d *daemon) server(ctx context.Context, cfg *config.Config) (*grpc.Server, error) {
	registries := hosts.NewRegistryConfig(cfg.Registries)
	d.worker.RegistryHosts = registries // to push to
	// As the tests have it (--oci-worker-gc=false): the service prunes beside builds,
	// where this package has both take turns.
	d.worker.WorkerOpt.GCPolicy = nil
	dir := filepath.Join(d.e.Root(), "build")
	history, err := boltutil.SafeOpen(filepath.Join(dir, "history.db"), 0o600, nil)
	if err != nil {
		return nil, err
	}
	keys, err := bboltcachestorage.NewStore(filepath.Join(dir, "unused.db"))
	if err != nil {
		return nil, err
	}
	fe, err := gateway.NewGatewayFrontend(d.workers.Infos(), nil)
	if err != nil {
		return nil, err
	}
	of := &solving{builder: d.builder}
	frontends := map[string]frontend.Frontend{
		frontendName: forwarder.NewGatewayForwarder(d.workers.Infos(), of.convert), "gateway.v0": fe,
	}
	if os.Getenv("CTOR_TEST_FRONTEND") == "buildkit" {
		frontends[frontendName] = forwarder.NewGatewayForwarder(d.workers.Infos(), stock.Build)
	}
	c, err := control.NewController(control.Opt{
		SessionManager:   d.sessions,
		WorkerController: &d.workers,
		Frontends:        frontends,
		CacheManager:     d.keys,
		ResolveCacheExporterFuncs: map[string]remotecache.ResolveCacheExporterFunc{
			"registry": cacheregistry.ResolveCacheExporterFunc(d.sessions, registries),
			"local":    local.ResolveCacheExporterFunc(d.sessions),
			"inline":   inline.ResolveCacheExporterFunc(),
		},
		ResolveCacheImporterFuncs: map[string]remotecache.ResolveCacheImporterFunc{
			"registry": cacheregistry.ResolveCacheImporterFunc(d.sessions, d.worker.ContentStore(), registries),
			"local":    local.ResolveCacheImporterFunc(d.sessions),
		},
		Entitlements:   cfg.Entitlements,
		HistoryDB:      history,
		HistoryConfig:  cfg.History,
		CacheStore:     keys,
		LeaseManager:   d.worker.LeaseManager(),
		ContentStore:   containerdsnapshot.NewContentStore(d.in.Client.ContentStore(), d.in.Namespace),
		GarbageCollect: d.worker.GarbageCollect,
		GracefulStop:   ctx.Done(),
	})
	if err != nil {
		return nil, err
	}
	s := grpc.NewServer(
		grpc.ChainUnaryInterceptor(d.solve, grpcerrors.UnaryServerInterceptor),
		grpc.ChainStreamInterceptor(grpcerrors.StreamServerInterceptor),
	)
	c.Register(s)
	return s, nil
}

// solve has a client's session belong to a build, with the network of the host as
// buildkitd gives it.
func (d *daemon) solve(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if r, ok := req.(*controlapi.SolveRequest); ok {
		network := container.Host()
		d.begin(r.Session, &solving{builder: d.builder, o: &Options{
			Network: &network, Pull: &image.PullOptions{Registry: &registry.Options{Mirrors: d.mirrors}},
		}})
		defer d.end(r.Session)
	}
	return handler(ctx, req)
}
