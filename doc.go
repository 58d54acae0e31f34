// Package ctor embeds containers in Go programs. There is no daemon: the
// services that run containers and keep images are part of the program.
//
// An image is a class, a container is an instance of it, a registry is where
// classes are published, and a layer is what one class adds to the class it
// extends. Each is a package; this one is what they have in common, the
// [Engine].
//
//	package main
//
//	import (
//		"context"
//		"log"
//		"os"
//
//		"github.com/ctorhq/ctor"
//		"github.com/ctorhq/ctor/container"
//		"github.com/ctorhq/ctor/image"
//	)
//
//	func main() {
//		ctx := context.Background()
//		engine, err := ctor.Open(ctx, ctor.Config{}) // in /var/lib/ctor
//		if err != nil {
//			log.Fatal(err)
//		}
//		defer engine.Close() // with every container that still runs
//
//		alpine, err := image.Pull(ctx, engine, "alpine:3.22", nil) // once
//		if err != nil {
//			log.Fatal(err)
//		}
//		c, err := alpine.Run(ctx, container.Config{
//			Args:   []string{"echo", "hello"},
//			Stdout: os.Stdout,
//		})
//		if err != nil {
//			log.Fatal(err)
//		}
//		defer c.Close()
//		if err := c.Wait(ctx); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// It needs Linux and root. Before Linux 5.12, and for a few configurations such as
// hooks, it needs runc too (apt-get install runc). Where something is missing the
// error says what, and what to do about it. [Engine.Info] says it
// before, with what is in force: which program makes the containers, which
// filter of system calls they get, which cgroups the host has.
//
// # Engines
//
// [Open] makes an engine of services inside this process, over a directory
// that is its alone. [Dial] makes one over a containerd that runs already.
// What is built on them cannot tell the difference.
//
// Containers are attached to the program unless they are made to be detached:
// they end with the engine, and when the program is killed they end within a
// second. What cannot be undone then, the next Open of the same root undoes.
//
// # What is the program's stays the program's
//
// The package changes nothing of the process: no signal handler, no
// environment, no working directory, no umask. Engines with different roots
// live in one process and share nothing. Containers are run by another
// process, the shim, which is this same program executed again: an init function
// of this module catches it before main. Code of the program runs in no container.
// Nor does what the program was started with reach its shims, images and
// containers: umask, ignored and blocked signals, priorities, environment,
// descriptors. Resource limits do, as with os/exec.
//
// A program with more rights than the user who executes it (set-uid, set-gid, file
// capabilities) can't open an engine, and is never executed as a shim.
//
// One thing is process-wide. containerd's code writes a few lines to a logger
// of its own, log.L of github.com/containerd/log, which by default writes to
// the standard error. This package silences that logger unless the program
// has set another.
package ctor
