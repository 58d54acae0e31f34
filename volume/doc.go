// Package volume keeps files that outlive containers.
//
//	v, err := volume.New(ctx, e, "data", nil)
//	db, err := postgres.Run(ctx, container.Config{Mounts: []container.Mount{v.Mount("/var/lib/postgresql/data")}})
//
// A volume is a directory below the engine's root, and any number of containers have
// it at the same time, attached, detached or kept. It stays until [Volume.Remove]:
// after its containers, after the program, and after a program that was killed. What
// one program makes, a later engine on the same root finds; over a containerd of
// [ctor.Dial], so do all programs with the same root.
//
// The first container that uses a volume copies into it what its image has at the
// target, with owners, modes, links and attributes, and gives it the owner and mode
// of that directory, as Docker does. That happens once, however many containers begin
// at the same moment: one copies, and the others wait. If it fails, or the program is
// killed meanwhile, the volume is unused as before. A volume that the program has put
// something into by [Volume.FS] before is left as it is. An image with a device at the
// target, or with a file that is no directory, is ctor.ErrInvalid by the container's
// New.
//
// A mount of a name that is no volume makes one. A mount without a name, and a
// directory that an image declares as a volume (VOLUME), is an anonymous volume: it
// belongs to its container alone and goes with it, and is in no list.
//
// What is in a volume is as hostile as its containers: FS follows no link out of it,
// opens no device, and trusts no size. A volume has no bound of its own: what its
// containers write fills the file system of the engine's root.
//
// A container in a user namespace of its own sees a volume's files by the host's
// numbers, as it sees those of a bind mount.
//
// [ctor.Dial]: https://pkg.go.dev/github.com/ctorhq/ctor#Dial
package volume
