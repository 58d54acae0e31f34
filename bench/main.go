// Bench measures ctor beside what a program would use in its place: bwrap,
// runc, containerd and Docker, each started by the bench itself, in a
// directory of its own, and all in one run. See README.md for what is
// measured and how to read it.
//
//	go run . -rounds 40 -json results.json -png bench.png
//	go run . -only life,exec -idle 20
//
// It needs root. What it has started is gone when it ends, ^C included.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// parts are what can be measured, in the order in which they are.
var parts = []string{"life", "warm", "exec", "rate", "soak", "idle", "open", "pull"}

// options are the command line's.
type options struct {
	rounds    int
	idle      int
	only      string
	peers     string
	shim      string
	below     string
	json, png string
	profile   string
	soak      time.Duration

	pullRounds int
	pullShapes string
	pullScale  float64
}

func (o *options) parse() error {
	flag.IntVar(&o.rounds, "rounds", 40, "lives and execs of each peer")
	flag.IntVar(&o.idle, "idle", 200, "idle containers in the memory measurement, and at the opening of an engine")
	flag.DurationVar(&o.soak, "soak", 10*time.Second, "how long lives run in a soak, from 8 goroutines and from 32")
	flag.IntVar(&o.pullRounds, "pull-rounds", 5, "pulls of each shape by each peer")
	flag.StringVar(&o.pullShapes, "pull-shapes", "", "pull only images whose shape contains one of these words, such as 10x100-gzip (comma separated); empty is all")
	flag.Float64Var(&o.pullScale, "pull-scale", 1, "how large the layers are that are pulled; at 1 the largest image has 1 GB, and there are two at a time")
	flag.StringVar(&o.below, "dir", "/tmp", "directory, with a short name, for all that the peers make: its file system counts")
	flag.StringVar(&o.only, "only", "", "what to measure, some of "+strings.Join(parts, ",")+"; empty is all")
	flag.StringVar(&o.peers, "peers", "", "measure only peers whose name contains one of these words (comma separated); empty is all")
	flag.StringVar(&o.shim, "shim", "", "path of containerd-shim-ctor-v2; empty looks in ./bin, ../bin and PATH")
	flag.StringVar(&o.json, "json", "results.json", "file for every sample; empty writes none")
	flag.StringVar(&o.png, "png", "bench.png", "file for the figure; empty draws none")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of this process, which holds ctor's engines")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if o.rounds < 1 || o.idle < 1 || o.soak < soakParts {
		return errors.New("-rounds and -idle must be 1 or more, and -soak a time")
	}
	for w := range strings.SplitSeq(o.only, ",") {
		if w != "" && !slices.Contains(parts, w) {
			return fmt.Errorf("-only %s: it must be some of %s", w, strings.Join(parts, ","))
		}
	}
	return nil
}

// wants tells whether a part is to be measured.
func (o *options) wants(part string) bool {
	return o.only == "" || slices.Contains(strings.Split(o.only, ","), part)
}

// wantsPeer tells whether a peer is to be measured.
func (o *options) wantsPeer(name string) bool { return mentions(o.peers, name) }

// mentions tells whether one of some words is in a name, or there are none.
func mentions(words, name string) bool {
	return words == "" || slices.ContainsFunc(strings.Split(words, ","), func(w string) bool { return strings.Contains(name, w) })
}

func main() {
	var o options
	if err := o.parse(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if dir := os.Getenv(loopbackEnv); dir != "" {
		fmt.Fprintln(os.Stderr, "bench:", loopback(dir))
		os.Exit(1)
	}
	if err := apart(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures, reports, and removes what it made.
func run(ctx context.Context, o options) (err error) {
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	stop, err := profile(o.profile)
	if err != nil {
		return err
	}
	defer stop()
	// What was measured before something failed is worth having.
	return errors.Join(b.measure(ctx), b.report())
}

func (b *bench) report() error {
	b.results.print(os.Stdout)
	if b.json != "" {
		if err := b.results.write(b.json); err != nil {
			return err
		}
	}
	if b.png != "" {
		return b.results.draw(b.png)
	}
	return nil
}
