package build

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"sync/atomic"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/exporter/util/epoch"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/solver/llbsolver"
	"github.com/moby/buildkit/util/entitlements"
	"golang.org/x/sync/errgroup"
)

// solving is one build. Its context is fsys, or where it comes from.
type solving struct {
	*builder
	o    *Options
	fsys fs.FS
	from *origin

	dockerfile atomic.Pointer[string] // its text, once it is read
}

// solve builds the image, and gives a name of it.
func (s *solving) solve(ctx context.Context) (name string, err error) {
	leave, err := s.turns.take(ctx, theCache, false)
	if err != nil {
		return "", err
	}
	defer leave()
	sess, end, err := s.session(ctx)
	if err != nil {
		return "", err
	}
	defer end()
	attrs := s.attributes()
	// BuildKit keeps the directories of RUN --mount=type=cache that are in use by
	// their names alone, for all engines of the program.
	attrs["build-arg:BUILDKIT_CACHE_MOUNT_NS"] = s.worker.ID()
	out, err := s.exporter(ctx, attrs)
	if err != nil {
		return "", err
	}
	saved, err := s.saved()
	if err != nil {
		return "", err
	}
	solver, err := s.newSolver()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, solver.Close()) }()
	id := identity.NewID()
	status := make(chan *client.SolveStatus)
	var made *client.SolveResponse
	var g errgroup.Group
	g.Go(func() error {
		// First, or it could miss a build that fails at once. It ends with the build, not
		// with ctx: the last is told as well.
		_ = solver.Status(context.WithoutCancel(ctx), id, status) // an error: there is nothing to tell
		return nil
	})
	g.Go(func() error {
		var err error
		made, err = solver.Solve(ctx, id, sess, frontend.SolveRequest{Frontend: frontendName, FrontendOpt: attrs},
			0, llbsolver.ExporterRequest{Exporters: []exporter.ExporterInstance{out}, CacheExporters: saved}, s.allowed(), s.o.processors(), false, nil, "", false)
		return err
	})
	report := newReport(s.o.Progress)
	for st := range status {
		report.add(st)
	}
	err = g.Wait()
	if err != nil {
		return "", explain(err, s.o.Dockerfile, s.text, report.name)
	}
	return nameOf(made)
}

// text is the Dockerfile's; "" if it could not be read.
func (s *solving) text() string {
	if t := s.dockerfile.Load(); t != nil {
		return *t
	}
	return ""
}

// attributes are what the frontend is told.
func (s *solving) attributes() map[string]string {
	a := s.o.attributes()
	if s.from != nil {
		a[contextDir] = s.from.url
	}
	return a
}

const frontendName = "dockerfile.v0"

// newSolver makes what decides what work there is. Each build has its own solver,
// which imports caches by what that build's options allow. A solver also can't be
// shared because BuildKit v0.34.2 reads the progress of one build while another
// writes it (solver/jobs.go, clientVertex).
func (s *solving) newSolver() (*llbsolver.Solver, error) {
	history, err := noHistory()
	if err != nil {
		return nil, err
	}
	return llbsolver.New(llbsolver.Opt{
		WorkerController: &s.workers,
		Frontends: map[string]frontend.Frontend{
			frontendName: forwarder.NewGatewayForwarder(s.workers.Infos(), s.convert),
		},
		CacheManager:   s.keys,
		CacheResolvers: s.o.importers(),
		Entitlements:   []string{"network.host", "security.insecure"},
		SessionManager: s.sessions,
		HistoryQueue:   history,
	})
}

// nameOf gives the first name under which the image was stored.
func nameOf(made *client.SolveResponse) (string, error) {
	first, _, _ := strings.Cut(made.ExporterResponse[exptypes.ExporterImageNameKey], ",")
	if first == "" {
		return "", errors.New("the image was given no name")
	}
	return first, nil
}

// allowed are what the Dockerfile may ask for.
func (s *solving) allowed() (list []entitlements.Entitlement) {
	if s.o.onHost() {
		list = append(list, entitlements.EntitlementNetworkHost)
	}
	if s.o.Privileged {
		list = append(list, entitlements.EntitlementSecurityInsecure)
	}
	return list
}

// exporter stores the image.
func (s *solving) exporter(ctx context.Context, attrs map[string]string) (exporter.ExporterInstance, error) {
	x, err := s.worker.Exporter(client.ExporterImage, s.sessions)
	if err != nil {
		return nil, err
	}
	to := map[string]string{
		string(exptypes.OptKeyName):     strings.Join(s.o.Tags, ","),
		string(exptypes.OptKeyOCITypes): "true",
	}
	if len(s.o.Tags) == 0 {
		to[string(exptypes.OptKeyDanglingPrefix)] = unnamed
	}
	if v, ok := epoch.ParseBuildArgs(attrs); ok {
		to[string(exptypes.OptKeySourceDateEpoch)] = v
		to[string(exptypes.OptKeyRewriteTimestamp)] = "true"
	}
	return x.Resolve(ctx, 0, to)
}

// session is how the solver asks for what is the build's: its directories and its
// secrets. It lasts until end.
func (s *solving) session(ctx context.Context) (id string, end func(), err error) {
	sess, err := session.NewSession(ctx, sharedKey(s.fsys, s.o.Contexts))
	if err != nil {
		return "", nil, err
	}
	dirs := filesync.StaticDirSource{}
	if s.fsys != nil {
		dirs[contextDir], dirs[dockerfileDir] = files{s.fsys}, files{s.fsys}
	}
	for name, fsys := range s.o.Contexts {
		dirs[name] = files{fsys}
	}
	sess.Allow(filesync.NewFSSyncProvider(dirs))
	sess.Allow(secretsprovider.FromMap(s.o.Secrets))
	sess.Allow(s.o.agents)
	if s.from != nil && s.from.own != nil {
		sess.Allow(s.from.own)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	ready := make(chan struct{})
	g.Go(func() error {
		return sess.Run(ctx, func(ctx context.Context, _ string, meta map[string][]string) (net.Conn, error) {
			theirs, ours := net.Pipe()
			g.Go(func() error { return s.sessions.HandleConn(ctx, theirs, meta) })
			close(ready)
			return ours, nil
		})
	})
	<-ready
	s.begin(sess.ID(), s)
	return sess.ID(), func() {
		s.builder.end(sess.ID())
		cancel()
		_ = sess.Close()
		_ = g.Wait() // an end like this one is an error to both
	}, nil
}
