// Package image is the class of containers: what they are made of, and what
// they do unless told otherwise.
//
// An [Image] comes from a registry ([Pull]), from an archive ([Import]), from
// files of the program ([New]), or from a container ([Commit]). It never
// changes; [Image.Derive] makes another that extends it, as a subclass does.
// Its instances are containers:
//
//	e, err := ctor.Open(ctx, ctor.Config{})
//	if err != nil {
//		return err
//	}
//	defer e.Close()
//	img, err := image.Pull(ctx, e, "alpine:3.22", nil) // only if it is missing
//	if err != nil {
//		return err
//	}
//	c, err := img.Run(ctx, container.Config{Args: []string{"uname", "-a"}, Stdout: os.Stdout})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	return c.Wait(ctx)
//
// # Names
//
// References are completed the way Docker does it: "alpine" is
// "docker.io/library/alpine:latest". A name of the store stands for one image
// at a time; to store an image under a name that is taken moves the name, and
// an image without a name, and without containers, is removed.
//
// # Platforms
//
// An image of several platforms is an index (OCI image-spec, image-index.md). An
// Image is what the index has for one of them: this machine's, unless
// [PullOptions] says otherwise. Only what is for this machine can be run here;
// the rest can be read, derived, exported and pushed all the same, and [Index]
// makes one of several. What an index says of a manifest's platform is believed,
// whatever the configuration says: old tools left it out there, or wrote their own
// machine's.
//
// # What an image says is hostile
//
// Everything that arrives is checked against its digest and size, and layers
// against what the configuration says they unpack to. Manifests, indexes and
// configurations have at most 8 MiB, and list at most 1000 parts. Layers are
// unpacked inside their own directory, whatever their names and links are. How
// much disk an image may take is not bounded. [PullOptions].Verify decides which
// images may come at all.
//
// # The store
//
// [DiskUsage] tells what images take up, and what they share, [Prune] removes those
// that no container was made from, and [Check] and [Repair] find and mend what a disk or
// a power cut has damaged.
//
// # Errors
//
// Errors name the operation and the image, and [errors.Is] finds one of
// these:
//
//   - ctor.ErrInvalid: a ref that can't be read, or an image, an archive or a
//     registry's answer that is not what it must be
//   - ctor.ErrNotFound: there is no such image, or none for the platform, or the
//     store doesn't have all of it
//   - ctor.ErrUnavailable: the registry can't be reached, or the host is short
//     of something
//   - ctor.ErrClosed: the engine was closed, maybe while the call was under way
//   - the context's own error, if it ended
//   - for a registry that refuses, the classes of package registry, among them
//     registry.ErrUnauthorized and registry.ErrRateLimited; and
//     registry.ErrDigest for content that is not what its digest says, which is
//     ctor.ErrInvalid too
//
// A call that fails leaves nothing: no name, no content, no half of a layer.
package image
