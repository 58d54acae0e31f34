package ctor_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
)

func ExampleOpen() {
	ctx := context.Background()
	engine, err := ctor.Open(ctx, ctor.Config{Root: "/var/lib/my-program"})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	alpine, err := image.Pull(ctx, engine, "alpine:3.22", nil)
	if err != nil {
		log.Fatal(err)
	}
	c, err := alpine.Run(ctx, container.Config{Args: []string{"uname", "-a"}, Stdout: os.Stdout})
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(c.Wait(ctx), c.Close()); err != nil {
		log.Fatal(err)
	}
}

// What went wrong has a class, and says what to do.
func ExampleOpen_errors() {
	_, err := ctor.Open(context.Background(), ctor.Config{Snapshotter: "zfs"})
	switch {
	case errors.Is(err, ctor.ErrLocked):
		fmt.Println("another program has the root open")
	case errors.Is(err, ctor.ErrUnavailable):
		fmt.Println("this host lacks something")
	case errors.Is(err, ctor.ErrInvalid):
		fmt.Println("the Config is wrong")
	}
	fmt.Println(err)
	// Output:
	// the Config is wrong
	// open engine: snapshotter "zfs": it must be one of ["overlayfs" "native"] (invalid argument)
}

// A containerd that runs already does the work; images and containers are in
// its store, under the namespace.
func ExampleDial() {
	ctx := context.Background()
	engine, err := ctor.Dial(ctx, "/run/containerd/containerd.sock", ctor.Config{Namespace: "my-program"})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	images, err := image.List(ctx, engine)
	if err != nil {
		log.Fatal(err)
	}
	for _, i := range images {
		fmt.Println(i.Ref(), i.Digest())
	}
}

func ExampleDial_errors() {
	_, err := ctor.Dial(context.Background(), "/nowhere/containerd.sock", ctor.Config{})
	fmt.Println(errors.Is(err, ctor.ErrUnavailable))
	fmt.Println(err)
	// Output:
	// true
	// dial containerd at /nowhere/containerd.sock: connect: no such file or directory (unavailable): is it running? start it, for one with: systemctl start containerd
}

func ExampleConfig() {
	cfg := ctor.Config{
		Root:   "/srv/jobs",                                   // instead of DefaultRoot
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), // instead of silence
	}
	engine, err := ctor.Open(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	fmt.Println(engine.Root(), engine.Snapshotter())
}

// Containerd is the door to what this module does not wrap.
func ExampleEngine_Containerd() {
	engine, err := ctor.Open(context.Background(), ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	ctx := engine.Context(context.Background())
	events, errs := engine.Containerd().Subscribe(ctx, `topic=="/tasks/oom"`)
	for {
		select {
		case e := <-events:
			fmt.Println(e.Timestamp, e.Topic)
		case err := <-errs:
			log.Fatal(err)
		}
	}
}

// Close ends what the program has left running.
func ExampleEngine_Close() {
	engine, err := ctor.Open(context.Background(), ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	// ...
	if err := engine.Close(); err != nil {
		log.Print(err) // it names what resists
	}
}

// What is in force, and what the host lacks, before anything is run.
func ExampleEngine_Info() {
	engine, err := ctor.Open(context.Background(), ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	info, err := engine.Info(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Executor, info.ExecutorVersion, "on cgroup", info.Cgroup) // libcontainer 1.5.2 on cgroup v2
	for _, l := range info.Lacks {
		fmt.Println(l) // there is no cgroup controller memory, so ...: boot with ...
	}
}

// A service that runs other people's programs looks before it begins, not when
// the first of them comes.
func ExampleInfo() {
	engine, err := ctor.Open(context.Background(), ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	info, err := engine.Info(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if !info.Native && info.Executor == "" || info.Seccomp == "" || info.Cgroup == "" {
		log.Fatal(info.Lacks[0])
	}
}

func ExamplePruneReport() {
	print := func(r ctor.PruneReport) { // of image.Prune, and its kin
		fmt.Printf("%d removed, %d bytes free\n", len(r.Removed), r.Bytes)
	}
	print(ctor.PruneReport{Removed: []string{"docker.io/library/app:old"}, Bytes: 1234})
	// Output: 1 removed, 1234 bytes free
}

// Everything that happens to containers, from a List on: nothing is lost between the
// two.
func ExampleEvent() {
	ctx := context.Background()
	engine, err := ctor.Open(ctx, ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	cursor := engine.Cursor()
	list, err := container.List(ctx, engine)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(list), "containers now")
	for ev, err := range engine.EventsAfter(ctx, cursor, nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(ev.Time, ev.Kind, ev.Name, ev.Action)
	}
}

// A program that goes on, the next time it runs, where it has stopped.
func ExampleCursor() {
	ctx := context.Background()
	engine, err := ctor.Open(ctx, ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	var cursor ctor.Cursor
	if b, err := os.ReadFile("cursor"); err == nil {
		fmt.Sscan(string(b), &cursor)
	}
	for ev, err := range engine.EventsAfter(ctx, cursor, nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(ev.Action, ev.Name)
		if err := os.WriteFile("cursor", fmt.Append(nil, uint64(ev.Cursor)), 0o600); err != nil {
			log.Fatal(err)
		}
	}
}

// The ends of two containers, and nothing else.
func ExampleEventFilter() {
	ctx := context.Background()
	engine, err := ctor.Open(ctx, ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	ends := &ctor.EventFilter{
		Kinds:   []ctor.EventKind{ctor.EventContainer},
		Actions: []ctor.EventAction{ctor.Exited},
		Names:   []string{"database", "cache"},
	}
	for ev, err := range engine.EventsAfter(ctx, engine.Cursor(), ends) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(ev.Name, ev.ExitCode)
	}
}

func ExampleEventKind() {
	var ev ctor.Event // of Engine.Events
	switch ev.Kind {
	case ctor.EventContainer:
		fmt.Println("container", ev.ID)
	case ctor.EventImage:
		fmt.Println("image", ev.Name, ev.Image)
	}
}

func ExampleEventAction() {
	var ev ctor.Event // of Engine.Events
	switch ev.Action {
	case ctor.Started:
		fmt.Println("life", ev.Life, "of", ev.Name)
	case ctor.Exited:
		fmt.Println("exit code", ev.ExitCode)
	}
}

// A reader that was away for too long is told, and goes on.
func ExampleMissedEvents() {
	ctx := context.Background()
	engine, err := ctor.Open(ctx, ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	for ev, err := range engine.EventsAfter(ctx, 0, nil) {
		var missed *ctor.MissedEvents
		switch {
		case errors.As(err, &missed):
			fmt.Println(missed.Last-missed.First+1, "are gone: list anew")
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(ev.Action)
		}
	}
}

// What would go of what has not run for a week, but for what is labelled to stay.
func ExamplePruneOptions() {
	ctx := context.Background()
	engine, err := ctor.Open(ctx, ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	report, err := engine.Prune(ctx, &ctor.PruneOptions{
		Before: time.Now().AddDate(0, 0, -7),
		Keep: func(_ ctor.EventKind, _ string, labels map[string]string) bool {
			return labels["keep"] != ""
		},
		DryRun: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Removed, report.Bytes)
}

// What containers ask the outside for is logged, whoever made them.
func ExampleEngine_Decisions() {
	ctx := context.Background()
	engine, err := ctor.Open(ctx, ctor.Config{Root: "/var/lib/my-program"})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	go func() {
		for d, err := range engine.Decisions(ctx) {
			var missed ctor.MissedDecisions
			switch {
			case errors.As(err, &missed):
				slog.Warn("egress", "missed", int(missed))
			case err != nil:
				return // the engine is closed
			default:
				slog.Info("egress", "container", d.Container, "to", d.Address, "verdict", d.Verdict, "received", d.Received)
			}
		}
	}()
	// Run containers with container.Out.
}

// A program that reads too slowly is told how many decisions it has missed.
func ExampleMissedDecisions() {
	fmt.Println(ctor.MissedDecisions(12))
	// Output: 12 decisions of ways out were dropped before they were read
}
