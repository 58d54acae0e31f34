// Imagetool does with images and registries what docker, crane, skopeo and oras do,
// over one store and without a daemon. What looks into images that are in the store,
// or brings them there, needs root; what asks registries alone does not.
//
//	imagetool pull alpine:3.22                       # with a bar for each layer
//	imagetool tree alpine:3.22                       # platforms, layers, what is about them
//	imagetool copy alpine:3.22 oci:./stick:alpine    # to a directory, all platforms
//	imagetool squash app:v1 app:v2
//	imagetool diff app:v1 app:v2
//	imagetool check -repair
//
// Registries are asked as "docker login" left them. Images are kept in ctor-imagetool
// in the user's cache directory unless -root names another. The exit code is 1 for what
// failed, 2 for a line that can't be understood, and 130 for what ^C ended.
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
	"syscall"
	"text/tabwriter"

	"github.com/ctorhq/ctor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t := tool{stdout: os.Stdout, stderr: os.Stderr}
	code := t.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// tool is one run of the program.
type tool struct {
	stdout, stderr io.Writer
	root           string
	engine         *ctor.Engine // nil: not opened yet
}

// A command is what the first argument names.
type command struct {
	name, args, does string
	run              func(t *tool, ctx context.Context, flags *flag.FlagSet, args []string) error
	need             [2]int // arguments, at least and at most; -1 is any number
}

// commands are in the order in which they are told.
func commands() []command {
	return []command{
		{"pull", "image…", "bring images into the store", (*tool).pull, [2]int{1, -1}},
		{"push", "image [name]", "publish an image of the store", (*tool).push, [2]int{1, 2}},
		{"copy", "from to", "copy between registries and directories (oci:DIR:NAME)", (*tool).copy, [2]int{2, 2}},
		{"tags", "repository", "list the tags of a repository", (*tool).tags, [2]int{1, 1}},
		{"search", "[host/]term", "find repositories, on Docker Hub unless a host is named", (*tool).search, [2]int{1, 1}},
		{"inspect", "image", "print manifest and configuration, of the registry's image", (*tool).inspect, [2]int{1, 1}},
		{"tree", "image", "show platforms, layers, and what is about an image", (*tool).tree, [2]int{1, 1}},
		{"images", "", "list the images of the store", (*tool).images, [2]int{0, 0}},
		{"layers", "image", "list the layers of an image, or the files, and whose they are", (*tool).layers, [2]int{1, 1}},
		{"diff", "image image", "list the files in which two images differ", (*tool).diff, [2]int{2, 2}},
		{"squash", "image name", "make one layer of an image's", (*tool).squash, [2]int{2, 2}},
		{"du", "", "tell what images take up on the disk", (*tool).du, [2]int{0, 0}},
		{"prune", "", "remove images that no container was made from", (*tool).prune, [2]int{0, 0}},
		{"check", "", "compare all that is stored to its digests", (*tool).check, [2]int{0, 0}},
	}
}

// usageError is of a line that can't be understood.
type usageError struct{ error }

// run is main, and gives the exit code.
func (t *tool) run(ctx context.Context, args []string) int {
	err := t.dispatch(ctx, args)
	if t.engine != nil {
		err = errors.Join(err, t.engine.Close())
	}
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, new(usageError)):
		if err.Error() != "" {
			fmt.Fprintln(t.stderr, "imagetool:", err)
		}
		return 2
	}
	fmt.Fprintln(t.stderr, "imagetool:", err)
	if ctx.Err() != nil {
		return 130
	}
	return 1
}

func (t *tool) dispatch(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("imagetool", flag.ContinueOnError)
	flags.SetOutput(t.stderr)
	flags.Usage = func() { t.usage(flags) }
	flags.StringVar(&t.root, "root", defaultRoot(), "`dir`ectory of the store")
	if err := flags.Parse(args); err != nil {
		return told(err)
	}
	if flags.NArg() == 0 {
		t.usage(flags)
		return usageError{errors.New("which command?")}
	}
	for _, c := range commands() {
		if c.name != flags.Arg(0) {
			continue
		}
		own := flag.NewFlagSet(c.name, flag.ContinueOnError)
		own.SetOutput(t.stderr)
		own.Usage = func() {
			fmt.Fprintf(t.stderr, "usage: imagetool %s %s\n  %s\n", c.name, c.args, c.does)
			own.PrintDefaults()
		}
		return c.run(t, ctx, own, flags.Args()[1:])
	}
	return usageError{fmt.Errorf("there is no command %q; imagetool -h lists them", flags.Arg(0))}
}

// told is the error of flags, which have told of it.
func told(err error) error {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{errors.New("")}
}

func (t *tool) usage(flags *flag.FlagSet) {
	fmt.Fprintln(t.stderr, "usage: imagetool [-root dir] command [flag…] [argument…]")
	w := tabwriter.NewWriter(t.stderr, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %s %s\t%s\n", c.name, c.args, c.does)
	}
	w.Flush()
	flags.PrintDefaults()
}

// parse reads the flags and the arguments of a command.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	if err := flags.Parse(args); err != nil {
		return nil, told(err)
	}
	for _, c := range commands() {
		if n := flags.NArg(); c.name == flags.Name() && (n < c.need[0] || c.need[1] >= 0 && n > c.need[1]) {
			flags.Usage()
			return nil, usageError{fmt.Errorf("%s with %d arguments", c.name, n)}
		}
	}
	return flags.Args(), nil
}

// open opens the store.
func (t *tool) open(ctx context.Context) (e *ctor.Engine, err error) {
	if t.engine == nil {
		t.engine, err = ctor.Open(ctx, ctor.Config{Root: t.root})
	}
	return t.engine, err
}

// defaultRoot keeps images out of the way of other programs: one engine at a time
// can have a root open.
func defaultRoot() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = "/var/cache"
	}
	return filepath.Join(dir, "ctor-imagetool")
}

// table writes lines in columns.
func (t *tool) table(head string) *tabwriter.Writer {
	w := tabwriter.NewWriter(t.stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, head)
	return w
}

func size(n int64) string {
	f, unit := float64(n), 0
	for f >= 999.5 && unit < 4 {
		f, unit = f/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %cB", f, " kMGT"[unit])
}
