// Package container runs instances of images: it makes them, starts them,
// talks with them, watches them and takes them away again.
//
// If an image is a class, a [Container] is an object of it, and [Config] is
// what its constructor is told. A program's own words for the life of one:
//
//	func greet(ctx context.Context, img *image.Image) error {
//		c, err := img.Run(ctx, container.Config{
//			Args:   []string{"echo", "hello"},
//			Stdout: os.Stdout,
//			Limits: container.Limits{Memory: 64 << 20},
//		})
//		if err != nil {
//			return err
//		}
//		defer c.Close() // also if it still runs
//		var exit *container.ExitError
//		if err := c.Wait(ctx); errors.As(err, &exit) {
//			return fmt.Errorf("it ended with %d", exit.Code)
//		}
//		return err
//	}
//
// [image.Image.Run] is New and Start; in between, a container is [Created], and
// can be looked at and followed before it does anything. [Container.Close]
// leaves nothing of it: no process, mount, cgroup, file or layer.
//
// # Whose it is
//
// A container is attached to its program, unless told otherwise: it ends with
// the engine's Close or, however the program ends, shortly after it. What it
// leaves then, the next engine on the same root removes at the latest.
//
// With Config.Restart it begins its next life by itself when one has ended, and with
// Config.AutoRemove it is removed then. Config.Health looks again and again how well it
// is; Config.Init puts a small first process before its command. [ctor.Engine.Events]
// tells what happens to it.
//
// With Config.Detach it goes on without the program, and a later one finds it
// with [Get], running or ended, with its exit code and its log. With Config.Keep
// its processes end with the program and the rest of it stays: a later program
// finds it with its files and its log, and starts it. [Container.Close] deletes
// what is attached or detached, and ends the processes of what is kept;
// [Container.Remove] deletes any.
//
// # Lives
//
// A container that has ended is an object still: [Container.Start] runs it
// again, with the files that its last life left. That works for all of them,
// whatever ended it, also where the program or the host went down and the
// container is detached or kept.
//
// # Warm instances
//
// [image.Image.Warm] makes a [Pool] of containers that are there but for their command:
// namespaces, cgroup, files and mounts are ready, and a process waits. [Pool.Claim]
// takes one and gives it what a [Claim] says; it is then as one that New has made, and
// its Start is all that is left.
//
//	pool, err := img.Warm(ctx, 4, container.Config{})
//	c, err := pool.Claim(ctx, container.Claim{Args: []string{"python3", "-c", script}})
//	err = c.Start(ctx)
//
// # Commands
//
// [Container.Command] is os/exec in a container: a [Cmd] has exec.Cmd's fields
// and methods, and they do the same.
//
//	dump, err := c.Command(ctx, "pg_dump", "shop").Output()
//
// [image.Image.Command] runs one in an instance that is gone when the command
// is.
//
// # Streams
//
// Output goes to Config.Stdout and Stderr as it comes, and into a log on the
// disk, which [Container.Logs] reads and follows. No byte is lost of either but
// the log's oldest, beyond Config.LogLimit, and [Container.Wait] returns after
// the last one.
//
// # Network
//
// A container has a network of its own with a loopback alone, and the program
// is in it as if it were there: [Container.Dial] connects to what listens in
// the container, [Container.Listen] has the program listen there. With [Out] its
// connections to the outside are made by a function of the program, with
// Config.Publish its ports are the host's too. No bridge, route or rule is made on
// the host.
//
// # Files
//
// [Container.FS] is the container's root as an io/fs file system, that can be
// written as well, in any state of the container and without a program of it:
// files go in before it starts, are looked at while it runs, and come out when
// it has ended.
//
// # Walls
//
// Unless told otherwise, every container gets namespaces of its own for network
// (with a loopback alone), processes, mounts, names, IPC and cgroups; Docker's
// capabilities, seccomp filter and masked and read-only paths, no new
// privileges through setuid files, and at most 4096 processes.
// Config.Security changes each of these, [Hardened] is the strictest, and Config.Limits
// bounds what it may use. What an image says of itself is not trusted: its user is
// looked up without leaving its files, and its environment, directory and signal
// are checked or left out.
//
// # Errors
//
// errors.Is finds one of the classes of package ctor in them: ErrInvalid for
// what can't be as it was asked for, ErrNotFound for a container, command, user
// or mount source that is not there, ErrAlreadyExists for a name that is taken,
// ErrUnavailable where the host is at fault, ErrClosed after the engine's Close.
// When ctx ends, the call ends with ctx's error, and never the container.
//
// [image.Image.Command]: https://pkg.go.dev/github.com/ctorhq/ctor/image#Image.Command
// [image.Image.Run]: https://pkg.go.dev/github.com/ctorhq/ctor/image#Image.Run
// [image.Image.Warm]: https://pkg.go.dev/github.com/ctorhq/ctor/image#Image.Warm
package container
