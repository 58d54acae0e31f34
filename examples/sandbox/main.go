// Sandbox is a box for an agent, or for anything else that should work on its
// own and be kept in: a container that stays, with a workspace, a way out to two
// hosts, and a token that it uses and never sees. It needs root, and runc.
//
//	sandbox put ./project                # a file or a directory into the workspace
//	sandbox run apk add git              # a command there, with its exit code
//	sandbox shell                        # a terminal in the box
//	sandbox shell < script               # or many commands, one after the other
//	sandbox get project/report.md        # a file or a directory out of the workspace
//	sandbox rm                           # the box and all that is in it
//
// Each of these is a program of its own, and finds the box as the last one left
// it: files stay, processes end with the program. The first one makes it, from
// Alpine unless -image names another image. One at a time can have the box.
//
// The box reaches two hosts: Alpine's packages, and GitHub's API, where the word
// that it has in GITHUB_TOKEN becomes that of the user who runs sandbox. To
// give it other hosts, change reach. What it asks for elsewhere is refused, and
// sandbox tells of it on its standard error.
//
// The exit code is the command's. As with docker, 125 says that sandbox itself
// failed, 127 that the box has no such command, and 130 that ^C ended it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
)

// Exit codes, as docker's.
const (
	failed      = 125
	noCommand   = 127
	interrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := sandbox{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		internet: egress.Public, token: os.Getenv("GITHUB_TOKEN"),
	}
	code := s.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// sandbox is one run of the program.
type sandbox struct {
	stdin          *os.File
	stdout, stderr io.Writer
	internet       egress.Dialer
	token          string // GitHub's
}

const usage = `usage: sandbox [flags] put path ...
       sandbox [flags] run command [argument ...]
       sandbox [flags] shell
       sandbox [flags] get path [directory]
       sandbox [flags] rm
`

// run is main, and gives the exit code.
func (s *sandbox) run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(s.stderr)
	flags.Usage = func() {
		fmt.Fprint(s.stderr, usage)
		flags.PrintDefaults()
	}
	root := flags.String("root", defaultRoot(), "`dir`ectory that keeps the box")
	image := flags.String("image", "docker.io/library/alpine:3.22", "what a new box is made from")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return failed
	}
	what, ok := verbs[flags.Arg(0)]
	if !ok || flags.NArg()-1 < what.least || flags.NArg()-1 > what.most {
		flags.Usage()
		return failed
	}
	err := s.open(ctx, *root, *image, func(b *box) error { return what.do(ctx, s, b, flags.Args()[1:]) })
	var exit *container.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case ctx.Err() != nil:
		return interrupted
	}
	fmt.Fprintf(s.stderr, "sandbox: %v\n", err)
	if errors.Is(err, exec.ErrNotFound) {
		return noCommand
	}
	return failed
}

// defaultRoot keeps the box out of the way of other programs: one engine at a
// time can have a root open.
func defaultRoot() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = "/var/cache" // no home: a service, most likely
	}
	return filepath.Join(dir, "ctor-sandbox")
}

// open calls do with the box, and ends what runs in it afterwards.
func (s *sandbox) open(ctx context.Context, root, image string, do func(*box) error) error {
	b, err := open(ctx, root, image, s.reach(), s.stderr)
	if err != nil {
		return err
	}
	return errors.Join(do(b), b.close())
}

// verbs are what a person can ask for, and how many arguments that takes.
var verbs = map[string]struct {
	least, most int
	do          func(ctx context.Context, s *sandbox, b *box, args []string) error
}{
	"put": {1, 1 << 20, func(ctx context.Context, _ *sandbox, b *box, args []string) error {
		for _, path := range args {
			if err := b.put(ctx, path); err != nil {
				return err
			}
		}
		return nil
	}},
	"get": {1, 2, func(_ context.Context, _ *sandbox, b *box, args []string) error {
		return b.get(args[0], append(args, ".")[1])
	}},
	"run": {1, 1 << 20, func(ctx context.Context, s *sandbox, b *box, args []string) error {
		cmd, err := b.command(ctx, args...)
		if err != nil {
			return err
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = s.stdin, s.stdout, s.stderr
		return cmd.Run()
	}},
	"shell": {0, 0, func(ctx context.Context, s *sandbox, b *box, _ []string) error {
		cmd, err := b.command(ctx, "sh")
		if err != nil {
			return err
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = s.stdin, s.stdout, s.stderr
		return runOn(s.stdin, cmd)
	}},
	"rm": {0, 0, func(ctx context.Context, _ *sandbox, b *box, _ []string) error { return b.remove(ctx) }},
}
