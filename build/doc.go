// Package build makes images from Dockerfiles, in this program, into the store of
// its engine: what it gives is an image that runs at once.
//
//	img, err := build.Build(ctx, e, os.DirFS("."), &build.Options{
//		Args: map[string]string{"VERSION": "1.2"},
//		Tags: []string{"shop:1.2"},
//	})
//
// [Remote] fetches the directory by git or HTTP, and [Tar] reads it.
//
// It is BuildKit as a library: its solver, its cache and its Dockerfile frontend.
// There is no daemon, no socket and no frontend image. A line "# syntax=..." is
// answered by the frontend that is linked in.
//
// # Steps
//
// The command of a RUN is a container of the engine: it starts as fast as the
// others, has the same walls, and ends with the program, however that ends. Its
// network is [Options.Network]: unless told otherwise it reaches the public
// internet, and neither this host nor its neighbours. No new privileges are
// gained through setuid files, so sudo does nothing in a step.
//
// # Cache
//
// What a step made is kept in the engine's root, where the next build finds it,
// also that of a later program. After each build the oldest of it goes until
// the rest is within the limit; [Prune] does it on request. What a program that is
// killed leaves half made in the cache goes with the next build, and an empty
// directory /tmp/buildkit-mount* may stay. An image is unpacked once more when it is
// first run or read. A [Cache] elsewhere is for other engines and other machines.
//
// # Errors
//
// An [Error] points at the Dockerfile: file, line, instruction, and of a command
// that failed its exit code and the last that it wrote. errors.Is finds the
// classes of package ctor.
//
// This package is a module of its own, since BuildKit is larger than all of the
// rest: programs that build nothing do not compile it.
package build
