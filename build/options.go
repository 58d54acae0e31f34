package build

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/containerd/platforms"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/reference"
)

// Options change how Build works. nil is the zero value.
type Options struct {
	// Dockerfile is its path in the context. "" means "Dockerfile".
	Dockerfile string

	// Target is the stage to build. "" means the last one.
	Target string

	// Args are values for the Dockerfile's ARG instructions. SOURCE_DATE_EPOCH is
	// one that all builds know: a number of seconds since 1970, which becomes the
	// time of the image and the latest time of a file in it.
	Args map[string]string

	// Labels are added to the image's.
	Labels map[string]string

	// Secrets are what RUN --mount=type=secret,id=NAME reads, by name. They are
	// neither in the image nor in the cache. While a step runs that mounts one as a
	// file, it is in a file below the engine's root that only its user can read.
	Secrets map[string][]byte

	// SSH is what RUN --mount=type=ssh,id=NAME has sign for it, by name; without an id
	// the name is "default". The container has a socket, as long as the step runs.
	SSH map[string]SSH

	// Contexts are further directories, for COPY --from=NAME and FROM NAME.
	Contexts map[string]fs.FS

	// Network is that of RUN instructions. nil means a way out to the public
	// internet, container.Out(egress.Public), which needs the kernel's nf_tables.
	// "RUN --network=none" has none in any case. "RUN --network=host" works only
	// if this is container.Host(). The cache does not ask by which network a
	// step has come to its result.
	//
	// What ADD names is fetched by this program, by way of it as well; a git repository
	// is fetched by the host's git, so that works only with container.Host(). Without
	// it, an ADD whose variables could make it an ssh URL is refused as well: one where
	// a colon, an at sign or an operator such as ${A#B} comes before the first slash,
	// in the source itself or in what its variables may be, unless http://, https:// or
	// git:// begins it.
	Network *container.Network

	// Privileged lets RUN --security=insecure have all capabilities and devices
	// of the host, without any filter: that is root on this host. Without it such
	// a line is an error.
	Privileged bool

	// NoCache runs every step, whatever the cache has. What they make is kept there
	// all the same.
	NoCache bool

	// Platforms are those that the image is for, as "linux/arm64". Empty means this
	// machine's. With several, the image is an index, and Build returns the image for
	// this machine, or for one of the others if this machine's is not among them. A RUN
	// for another platform needs a kernel with binfmt_misc set up for it, and is
	// ctor.ErrUnavailable without; a stage that begins with
	// FROM --platform=$BUILDPLATFORM needs nothing.
	Platforms []string

	// Pull says how base images are found: in the engine's store, and, unless its
	// Policy is PullNever, in their registry. Its Platform and Progress are not used.
	// nil is the zero value.
	Pull *image.PullOptions

	// CacheFrom are caches that steps may be taken from besides the engine's own, for
	// what that does not have. One that can't be read is passed over: Progress tells
	// of it as a step that has failed.
	CacheFrom []Cache

	// CacheTo are where the results of all steps are kept besides.
	CacheTo []Cache

	// Provenance adds how the image was made. The zero value adds nothing.
	Provenance Provenance

	// SBOM is the image of a scanner that lists what is in the image, as
	// "docker/buildkit-syft-scanner". It runs as a step, with the network of one, and
	// what it writes is added as an attestation in the format of SPDX; the [protocol]
	// says what it is asked. "" adds none. No scanner comes with this library.
	//
	// [protocol]: https://github.com/moby/buildkit/blob/v0.34.2/docs/attestations/sbom-protocol.md
	SBOM string

	// Tags are the names of the image, completed as Docker does it: "shop" is
	// "docker.io/library/shop:latest". Without any it is called by its digest,
	// "ctor.local/build@sha256:...", until [image.Image.Remove].
	Tags []string

	// Progress is told how the steps get on, by one goroutine at a time. The build
	// waits for it. nil means no reports.
	Progress func(Progress)

	agents agents // of SSH
}

// unnamed is how images are called that have no tag, with their digest.
const unnamed = "ctor.local/build"

// complete checks the options and fills in defaults. The caller's are not changed.
func (o *Options) complete() (*Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Dockerfile == "" {
		c.Dockerfile = "Dockerfile"
	}
	if !fs.ValidPath(c.Dockerfile) {
		return nil, fmt.Errorf("dockerfile %q: it must be a path in the context, without a slash in front (%w)", c.Dockerfile, ctor.ErrInvalid)
	}
	c.Dockerfile = path.Clean(c.Dockerfile)
	if c.Network == nil {
		n := container.Out(egress.Public)
		c.Network = &n
	}
	if c.Pull == nil {
		c.Pull = &image.PullOptions{}
	}
	for name := range c.Contexts {
		if name == "" || strings.ContainsAny(name, " :=@") || slices.Contains(reserved, name) {
			return nil, fmt.Errorf("context %q: the name can't be one (%w)", name, ctor.ErrInvalid)
		}
	}
	tags := c.Tags
	c.Tags = nil
	for _, t := range tags {
		r, err := reference.Parse(t)
		if err != nil {
			return nil, fmt.Errorf("tag %q: %w", t, err)
		}
		c.Tags = append(c.Tags, r.String())
	}
	for _, p := range c.Platforms {
		if _, err := platforms.Parse(p); err != nil || strings.Contains(p, ",") {
			return nil, fmt.Errorf("platform %q: it must be as \"linux/arm64\" (%w)", p, ctor.ErrInvalid)
		}
	}
	if c.Provenance < NoProvenance || c.Provenance > MaxProvenance {
		return nil, fmt.Errorf("there is no Provenance %d (%w)", c.Provenance, ctor.ErrInvalid)
	}
	if c.SBOM != "" {
		r, err := reference.Parse(c.SBOM)
		if err != nil {
			return nil, fmt.Errorf("scanner %q: %w", c.SBOM, err)
		}
		c.SBOM = r.String()
	}
	if err := c.checkCaches(); err != nil {
		return nil, err
	}
	var err error
	c.agents, err = newAgents(c.SSH)
	return &c, err
}

// reserved are the names of the directories that each build has.
var reserved = []string{contextDir, dockerfileDir}

const (
	contextDir    = "context"
	dockerfileDir = "dockerfile"
)

// onHost tells whether steps have the host's network.
func (o *Options) onHost() bool { return reflect.DeepEqual(*o.Network, container.Host()) }

// attributes are what the frontend is told.
func (o *Options) attributes() map[string]string {
	a := map[string]string{
		"filename":           o.Dockerfile,
		"image-resolve-mode": "local",
	}
	if o.Target != "" {
		a["target"] = o.Target
	}
	if o.NoCache {
		a["no-cache"] = ""
	}
	for k, v := range o.Args {
		a["build-arg:"+k] = v
	}
	for k, v := range o.Labels {
		a["label:"+k] = v
	}
	if len(o.Platforms) > 0 {
		a["platform"] = strings.Join(o.Platforms, ",")
	}
	if list := o.imports(); list != "" {
		a["cache-imports"] = list
	}
	if o.SBOM != "" {
		a["attest:sbom"] = "generator=" + o.SBOM
	}
	for name := range maps.Keys(o.Contexts) {
		a["context:"+name] = "local:" + name
	}
	return a
}
