package build_test

import (
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// statement is what an attestation says (in-toto v0.1).
type statement struct {
	PredicateType string `json:"predicateType"`
	Subject       []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	Predicate struct {
		Name            string `json:"name"` // of SPDX
		BuildDefinition struct {
			ResolvedDependencies []struct {
				URI    string            `json:"uri"`
				Digest map[string]string `json:"digest"`
			} `json:"resolvedDependencies"`
			ExternalParameters struct {
				Request struct {
					Args    map[string]string `json:"args"`
					Secrets []struct {
						ID string `json:"id"`
					} `json:"secrets"`
				} `json:"request"`
			} `json:"externalParameters"`
		} `json:"buildDefinition"`
		RunDetails struct {
			Metadata map[string]any `json:"metadata"`
		} `json:"runDetails"`
	} `json:"predicate"`
}

// attested are the statements about an image, by their type.
func attested(t *testing.T, e *ctor.Engine, img *image.Image) map[string]statement {
	var index ocispec.Index
	blob(t, e, img.Index(), &index)
	list := map[string]statement{}
	for _, m := range index.Manifests {
		if m.Annotations["vnd.docker.reference.type"] != "attestation-manifest" {
			continue
		}
		require.Equal(t, img.Digest().String(), m.Annotations["vnd.docker.reference.digest"])
		var manifest ocispec.Manifest
		blob(t, e, m.Digest, &manifest)
		for _, l := range manifest.Layers {
			var s statement
			blob(t, e, l.Digest, &s)
			require.Equal(t, l.Annotations["in-toto.io/predicate-type"], s.PredicateType)
			list[s.PredicateType] = s
		}
	}
	return list
}

func TestProvenance(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	base := fixture.Busybox(t, e)
	from := dockerfile("FROM ctor.test/busybox:1", "ARG WHO", "RUN --mount=type=secret,id=key echo $WHO > /who")
	for mode, more := range map[build.Provenance]bool{build.MinProvenance: false, build.MaxProvenance: true} {
		o := alone()
		o.Provenance = mode
		o.Tags = []string{"ctor.test/attested:1"}
		o.Args = map[string]string{"WHO": "me"}
		o.Secrets = map[string][]byte{"key": []byte("hush-hush")}
		img, err := build.Build(t.Context(), e, from, o)
		require.NoError(t, err)
		require.Equal(t, "me\n", content(t, img, "who"))
		s, ok := attested(t, e, img)["https://slsa.dev/provenance/v1"]
		require.True(t, ok)
		require.Equal(t, img.Digest(), digest.NewDigestFromEncoded(digest.SHA256, s.Subject[0].Digest["sha256"]))
		deps := s.Predicate.BuildDefinition.ResolvedDependencies
		require.Len(t, deps, 1)
		require.Contains(t, deps[0].URI, "ctor.test/busybox")
		require.Equal(t, base.Index().Encoded(), deps[0].Digest["sha256"])
		require.Equal(t, more, s.Predicate.BuildDefinition.ExternalParameters.Request.Args["build-arg:WHO"] == "me")
		require.Equal(t, more, len(s.Predicate.BuildDefinition.ExternalParameters.Request.Secrets) == 1)
		require.NotEmpty(t, s.Predicate.RunDetails.Metadata["finishedOn"])
	}
	img, err := build.Build(t.Context(), e, from, alone())
	require.NoError(t, err)
	require.Equal(t, img.Digest(), img.Index(), "an index of one")
	_, err = build.Build(t.Context(), e, from, &build.Options{Provenance: 9})
	require.ErrorIs(t, err, ctor.ErrInvalid)
}

// scanner is one that keeps to the protocol, and lists the files of /bin.
const scanner = `cat > $BUILDKIT_SCAN_DESTINATION/found.spdx.json <<end
{"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document",
 "predicate": {"name": "$(ls $BUILDKIT_SCAN_SOURCE | tr '\n' ' ')$(ls $BUILDKIT_SCAN_SOURCE_EXTRAS 2>/dev/null)"}}
end`

func TestSBOM(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	o := alone()
	o.Tags = []string{"ctor.test/scanner:1"}
	_, err := build.Build(t.Context(), e, dockerfile("FROM ctor.test/busybox:1", "RUN busybox ln -s busybox /bin/tr", "COPY <<'eof' /scan", scanner, "eof", `CMD ["sh", "/scan"]`), o)
	require.NoError(t, err)

	o = alone()
	o.SBOM = "ctor.test/scanner:1"
	img, err := build.Build(t.Context(), e, dockerfile(
		"FROM ctor.test/busybox:1 AS other", "ARG BUILDKIT_SBOM_SCAN_STAGE=true", "RUN echo > /x",
		"FROM scratch", "COPY --from=other /x /made-here"), o)
	require.NoError(t, err)
	s, ok := attested(t, e, img)["https://spdx.dev/Document"]
	require.True(t, ok)
	require.Equal(t, "made-here sbom-other", s.Predicate.Name)

	o.SBOM = "ctor.test/nosuch:1"
	o.Pull = &image.PullOptions{Policy: image.PullNever}
	_, err = build.Build(t.Context(), e, dockerfile("FROM scratch", "COPY Dockerfile /"), o)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	require.ErrorContains(t, err, "scanner ctor.test/nosuch:1")
}
