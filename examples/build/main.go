// Build makes an image from a Dockerfile, shows how that gets on, and runs it. It
// needs root, and runc.
//
//	build .                                       # the directory's Dockerfile
//	build -f deploy/Dockerfile -target test . make check
//	build -arg VERSION=1.2 -t shop:1.2 https://example.org/shop.git#main
//
// Behind the directory or the URL stands a command to run instead of the image's own;
// with -run=false nothing is run. In a terminal the steps that run are shown with the
// last that they wrote; otherwise each step and line of output is a line.
//
// Steps reach the public internet, unless -network is none or host. What was built is
// kept below -root, where the next build finds it.
//
// The exit code is the command's. As with docker, 125 says that build itself failed,
// and 130 that ^C ended it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
)

// Exit codes, as docker's.
const (
	failed      = 125
	interrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	if fd := int(os.Stderr.Fd()); term.IsTerminal(fd) {
		p.width = func() int {
			w, _, err := term.GetSize(fd)
			if err != nil || w < 20 { // it does not say
				return 80
			}
			return w
		}
	}
	code := p.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// program is one run of build.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	width          func() int // of the terminal that stderr is; nil: it is none
}

// job is what the command line asks for.
type job struct {
	root, where string
	runs        bool
	command     []string
	options     build.Options
}

// run is main, and gives the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	j, err := p.parse(args)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return failed
	}
	err = p.do(ctx, j)
	var exit *container.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case ctx.Err() != nil:
		return interrupted
	}
	fmt.Fprintf(p.stderr, "%v\n", err)
	return failed
}

func (p *program) parse(args []string) (*job, error) {
	j := &job{}
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	flags.Usage = func() {
		fmt.Fprintln(p.stderr, "usage: build [flags] directory|url [command [argument ...]]")
		flags.PrintDefaults()
	}
	flags.StringVar(&j.root, "root", defaultRoot(), "`dir`ectory of images and of what was built")
	flags.StringVar(&j.options.Dockerfile, "f", "", "`path` of the Dockerfile in the directory")
	flags.StringVar(&j.options.Target, "target", "", "`stage` to build, if not the last")
	flags.BoolVar(&j.options.NoCache, "no-cache", false, "run each step")
	flags.BoolVar(&j.runs, "run", true, "run the image")
	flags.Func("t", "`name` of the image; may be repeated", func(s string) error {
		j.options.Tags = append(j.options.Tags, s)
		return nil
	})
	flags.Func("arg", "`NAME=value` of an ARG; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("NAME=value is wanted")
		}
		if j.options.Args == nil {
			j.options.Args = map[string]string{}
		}
		j.options.Args[name] = value
		return nil
	})
	flags.Func("network", "of steps: public (default), none or host", func(s string) error {
		n, ok := map[string]container.Network{"public": container.Out(egress.Public), "none": {}, "host": container.Host()}[s]
		if !ok {
			return errors.New("public, none or host is wanted")
		}
		j.options.Network = &n
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return nil, errors.New("build what?")
	}
	j.where, j.command = flags.Arg(0), flags.Args()[1:]
	return j, nil
}

// defaultRoot keeps out of the way of other programs.
func defaultRoot() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = "/var/cache" // no home: a service, most likely
	}
	return filepath.Join(dir, "ctor-build")
}

func (p *program) do(ctx context.Context, j *job) (err error) {
	e, err := ctor.Open(ctx, ctor.Config{Root: j.root})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	img, err := p.build(ctx, e, j)
	if err != nil {
		return explained(err)
	}
	if !j.runs {
		fmt.Fprintln(p.stdout, img.Ref())
		return nil
	}
	c, err := img.Run(ctx, container.Config{Args: j.command, Stdin: p.stdin, Stdout: p.stdout, Stderr: p.stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return c.Wait(ctx)
}

func (p *program) build(ctx context.Context, e *ctor.Engine, j *job) (*image.Image, error) {
	b := newBoard(p.stderr, p.width)
	defer b.close()
	j.options.Progress = b.tell
	if strings.Contains(j.where, "://") || strings.Contains(j.where, "@") {
		return build.Remote(ctx, e, j.where, &j.options)
	}
	return build.Build(ctx, e, os.DirFS(j.where), &j.options)
}

// explained adds to an error what the command that failed has written last.
func explained(err error) error {
	var be *build.Error
	if !errors.As(err, &be) || len(be.Output) == 0 {
		return err
	}
	var last strings.Builder
	for line := range strings.Lines(string(be.Output)) {
		fmt.Fprintf(&last, "  | %s\n", plain(line))
	}
	return fmt.Errorf("%s%w", last.String(), err)
}
