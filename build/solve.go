package build

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/exporter/util/epoch"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/solver/llbsolver"
	"github.com/moby/buildkit/util/entitlements"
	"golang.org/x/sync/errgroup"
)

// solving is one build.
type solving struct {
	*builder
	o    *Options
	fsys fs.FS
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
	attrs := s.o.attributes()
	// BuildKit keeps the directories of RUN --mount=type=cache that are in use by
	// their names alone, for all engines of the program.
	attrs["build-arg:BUILDKIT_CACHE_MOUNT_NS"] = s.worker.ID()
	out, err := s.exporter(ctx, attrs)
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
			0, llbsolver.ExporterRequest{Exporters: []exporter.ExporterInstance{out}}, s.allowed(), nil, false, nil, "", false)
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

// text is the Dockerfile's.
func (s *solving) text() string {
	b, _ := fs.ReadFile(s.fsys, s.o.Dockerfile)
	return string(b)
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
	dirs := filesync.StaticDirSource{contextDir: files{s.fsys}, dockerfileDir: files{s.fsys}}
	for name, fsys := range s.o.Contexts {
		dirs[name] = files{fsys}
	}
	sess.Allow(filesync.NewFSSyncProvider(dirs))
	sess.Allow(secretsprovider.FromMap(s.o.Secrets))
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
	s.mu.Lock()
	s.builds[sess.ID()] = s.o
	s.mu.Unlock()
	return sess.ID(), func() {
		s.mu.Lock()
		delete(s.builds, sess.ID())
		s.mu.Unlock()
		cancel()
		_ = sess.Close()
		_ = g.Wait() // an end like this one is an error to both
	}, nil
}
