// Package layer makes and reads filesystem layers: what one image adds to the
// image it extends.
//
// A [Layer] is a value: a few exported fields that say which layer it is, and a
// way to open its bytes, an uncompressed tar. It never changes. Layers come from
// a file system ([FromFS]), from a tar ([FromTar]), or, in package image, from an
// image in the store.
//
//	//go:embed hello
//	var files embed.FS // a static program named hello
//
//	// build makes an image that holds nothing but /bin/hello.
//	func build(ctx context.Context, e *ctor.Engine) (*image.Image, error) {
//		program := layer.FromFS(files, &layer.Options{
//			Prefix:    "bin",
//			Mode:      func(string, fs.FileMode) fs.FileMode { return 0o755 }, // embed forgets the x bits
//			CreatedBy: "go:embed hello",
//		})
//		return image.New(ctx, e, "hello:latest", ocispec.ImageConfig{Cmd: []string{"/bin/hello"}}, program)
//	}
//
// FromFS is reproducible: the same names, modes and bytes give the same digest on
// every machine and every day, so an image built from them is uploaded once.
//
// # What a layer does to the layers below it
//
// The rules are those of the OCI image specification, layer.md ("Applying
// Changesets"). A file replaces what has its name below. A directory is merged
// with a directory below, and its mode and owner replace those it finds: a layer
// that holds tmp/ with mode 0755 takes /tmp's sticky bit away. A directory that
// meets a symbolic link below replaces the link: on a distribution where /bin
// links to usr/bin, put programs in usr/bin. The directories of [Options].Prefix
// are no entries, so that they change neither mode nor owner of any.
//
// An entry named .wh.NAME deletes NAME from the layers below ("Whiteouts").
// FromTar takes such entries, FromFS refuses them.
//
// [Files] lists what layers make together, and says of each file which layer it is
// from.
//
// # Errors
//
// Errors start with "layer: " and wrap their cause. Their class is a value of
// package github.com/containerd/errdefs, for [errors.Is]:
//
//   - ErrInvalidArgument: what was given can't be a layer: no tar, a device, a
//     whiteout in a file system, a Prefix that climbs out, the zero Layer.
//   - ErrDataLoss: the bytes are not those the layer had when it was made.
//   - ErrResourceExhausted: [Layer.FS] met more entries than it will index.
//
// An error of the file system, of the reader behind a layer, or of a cancelled
// context has no class added; it stays what it was: fs.ErrNotExist,
// context.Canceled.
package layer
