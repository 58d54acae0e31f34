package database_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// Each of the tests counts to its own number on a Redis of its own.
func TestRedis(t *testing.T) {
	// With a registry at hand: image.Pull(t.Context(), e, "redis:7", nil). Here
	// the image is made of Debian's package.
	img := fixture.Redis(t, containertest.Engine(t))
	server(t, img, container.TCP(6379), new(times)) // the first one takes longer: it unpacks the image
	var times times
	t.Cleanup(func() { times.print(t) })
	for i := range parallel {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			c := server(t, img, container.TCP(6379), &times)
			// The address is the container's own, which only Dial reaches.
			db := redis.NewClient(&redis.Options{Addr: "localhost:6379", Dialer: c.Dial})
			defer db.Close()
			for range i {
				if err := db.Incr(t.Context(), "counter").Err(); err != nil {
					t.Fatal(err)
				}
			}
			n, err := db.Get(t.Context(), "counter").Int()
			if err != nil && err != redis.Nil {
				t.Fatal(err)
			}
			if n != i {
				t.Errorf("counted to %d, want %d: somebody else counts on this server", n, i)
			}
		})
	}
}
