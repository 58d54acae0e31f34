package volume_test

import (
	"context"
	"fmt"
	"log"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/volume"
)

var (
	ctx      = context.Background()
	e        *ctor.Engine
	postgres *image.Image
)

// A database whose files stay when its container goes.
func Example() {
	data, err := volume.New(ctx, e, "data", nil)
	if err != nil {
		log.Fatal(err)
	}
	db, err := postgres.Run(ctx, container.Config{
		Mounts: []container.Mount{data.Mount("/var/lib/postgresql/data")},
		Env:    []string{"POSTGRES_HOST_AUTH_METHOD=trust"},
		Ready:  container.TCP(5432),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// What volumes there are, whose they are, and what they take up.
func ExampleVolume() {
	list, err := volume.List(ctx, e)
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range list {
		bytes, err := v.Usage(ctx)
		if err != nil {
			log.Fatal(err)
		}
		containers, err := v.Containers(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(v.Name(), v.Labels()["team"], bytes, containers)
	}
}

// Files are put into a volume before any container has it.
func ExampleVolume_FS() {
	seed, err := volume.New(ctx, e, "seed", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := seed.FS().WriteFile("init.sql", []byte("CREATE TABLE t (n int);"), 0o644); err != nil {
		log.Fatal(err)
	}
}

func ExampleOptions() {
	_, err := volume.New(ctx, e, "cache", &volume.Options{Labels: map[string]string{"team": "builds"}})
	if err != nil {
		log.Fatal(err)
	}
}
