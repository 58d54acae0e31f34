package build_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// An engine with an empty store builds from the cache that another engine has exported.
func TestCaches(t *testing.T) {
	t.Parallel()
	s := registrytest.NewServer(t, &registrytest.Options{Username: "u", Password: "p"})
	login := credentials(t, s.Host, "u", "p")
	base := s.Host + "/base:1"
	img, err := fixture.Busybox(t, fixture.Open(t)).Tag(t.Context(), base)
	require.NoError(t, err)
	require.NoError(t, img.Push(t.Context(), "", &image.PushOptions{Registry: login}))
	stages := dockerfile(
		"FROM "+base+" AS made",
		"RUN cat /proc/sys/kernel/random/uuid > /made",
		"FROM "+base,
		"COPY --from=made /made /",
		"RUN cat /proc/sys/kernel/random/uuid > /uuid",
	)
	for name, c := range map[string]struct {
		to, from build.Cache
	}{
		"registry":  {build.InRegistry(s.Host + "/cache:1"), build.InRegistry(s.Host + "/cache:1")},
		"directory": {build.InDirectory(t.TempDir()), build.Cache{}},
		"image":     {build.InImage(), build.InRegistry(s.Host + "/shop:1")},
	} {
		t.Run(name, func(t *testing.T) {
			if c.from == (build.Cache{}) {
				c.from = c.to
			}
			run := func(first bool) (*image.Image, *seen) {
				e := fixture.Open(t)
				var told seen
				o := alone()
				o.Pull = &image.PullOptions{Registry: login}
				o.CacheFrom = []build.Cache{c.from}
				o.Tags = []string{s.Host + "/shop:1"}
				o.Progress = told.add
				if first {
					o.CacheTo = []build.Cache{c.to}
				}
				img, err := build.Build(t.Context(), e, stages, o)
				require.NoError(t, err)
				if first { // where there is no cache yet, that stops nothing
					require.NoError(t, img.Push(t.Context(), "", &image.PushOptions{Registry: login}))
				}
				content(t, img, "uuid")
				return img, &told
			}
			one, told := run(true)
			require.Equal(t, build.Done, told.last("> /uuid"))
			two, told := run(false)
			require.Equal(t, build.Cached, told.last("> /uuid"))
			require.Equal(t, content(t, one, "uuid"), content(t, two, "uuid"))
			require.Equal(t, content(t, one, "made"), content(t, two, "made"))
			if name != "image" { // whose configuration has the cache
				require.Equal(t, one.Digest(), two.Digest())
			}
		})
	}
}

func TestCachesInvalid(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	for name, o := range map[string]*build.Options{
		"from the image": {CacheFrom: []build.Cache{build.InImage()}},
		"nowhere":        {CacheTo: []build.Cache{{}}},
		"no ref":         {CacheTo: []build.Cache{build.InRegistry("a b")}},
		"no directory":   {CacheFrom: []build.Cache{build.InDirectory("")}},
	} {
		_, err := build.Build(t.Context(), e, dockerfile("FROM scratch"), o)
		require.ErrorIs(t, err, ctor.ErrInvalid, name)
	}
}
