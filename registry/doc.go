// Package registry is where images are published: Docker Hub, a private
// registry, or one in this process.
//
// A class, in this library's picture, is an image; a [Registry] is the index
// it is published in. Most programs need no more of this package than its
// [Options], since image.Pull and Image.Push do the rest. What it offers by
// itself is to look around:
//
//	hub, err := registry.New("docker.io", nil)
//	if err != nil {
//		return err
//	}
//	for tag, err := range hub.Tags(ctx, "library/alpine") {
//		if err != nil {
//			return err
//		}
//		fmt.Println(tag)
//	}
//	d, err := hub.Resolve(ctx, "alpine:3.22")
//	if err != nil {
//		return err
//	}
//	fmt.Println(d.Digest)
//
// [Copy] copies an image from one registry to another without storing it, or from and
// to a directory, as an OCI image layout;
// [Registry.Attach] publishes what is about an image, and [Registry.Referrers]
// finds it.
//
// The protocol is that of the [OCI distribution-spec], spoken by oras-go.
//
// # Credentials
//
// Without options, credentials are those "docker login" or "podman login"
// left, and a registry is shown them only when it asks. They go to the host
// they are for and, as the protocol has it, to the token server that this host
// names, but neither to where it redirects nor to a mirror. The token server of
// a registry with TLS must have TLS too, and one inside a private network, or
// on loopback, is refused unless the registry is there as well;
// [Credential].RegistryToken does without a token server.
//
// # What a registry says is hostile
//
// Names, sizes and types in its answers are checked, and there are bounds on
// them: 4 MiB for a manifest, 32 MiB for a page of a list, 10000 pages, and
// one byte more than announced for a body. What is read is only as good as
// its digest, which the caller of [Registry.Fetch] compares.
//
// # Errors
//
// Errors of a Registry are of type [*Error], and errors.Is finds one of these classes of
// github.com/containerd/errdefs:
//
//   - ErrNotFound: no such repository, manifest or blob; status 404
//   - ErrUnauthenticated, here also [ErrUnauthorized]: credentials are missing
//     or wrong; 401. Docker Hub says so of repositories that don't exist, too
//   - ErrPermissionDenied: they are right, but not enough; 403
//   - ErrUnavailable: can't be reached or can't answer now; 408, 5xx, DNS, a
//     refused, broken or timed-out connection; and [ErrRateLimited], 429
//   - ErrInvalidArgument: a malformed host, reference, name or descriptor, or
//     what the registry calls so; 400; and [ErrDigest], content that is not
//     what its digest says
//   - ErrOutOfRange: an answer beyond the bounds above; 413, 416
//   - ErrNotImplemented: the registry can't do it, or sent a kind of manifest
//     that this package doesn't know; 405, 501
//   - ErrConflict: 409
//
// A call whose context ends returns an error that is context.Canceled or
// context.DeadlineExceeded. Anything else has no class.
//
// [OCI distribution-spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
package registry
