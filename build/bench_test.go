package build_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/internal/fixture"
)

// fourSteps is the Dockerfile that is measured beside docker build.
var fourSteps = dockerfile(
	"FROM ctor.test/busybox:1",
	"RUN echo one > /one",
	"COPY Dockerfile /copied",
	"RUN cat /copied > /two",
	"RUN echo three > /three",
)

// Cold runs each step, warm finds them all in the cache.
func BenchmarkBuild(b *testing.B) {
	for name, noCache := range map[string]bool{"cold": true, "warm": false} {
		b.Run(name, func(b *testing.B) {
			e := fixture.Open(b)
			fixture.Busybox(b, e)
			o := alone()
			o.Tags = []string{"ctor.test/four:1"}
			o.NoCache = noCache
			_, err := build.Build(b.Context(), e, fourSteps, o)
			require.NoError(b, err)
			for b.Loop() {
				_, err := build.Build(b.Context(), e, fourSteps, o)
				require.NoError(b, err)
			}
		})
	}
}
