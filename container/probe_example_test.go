package container_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ctorhq/ctor/container"
)

// A probe of one's own is a function. It is asked until it gives nil.
func ExampleProbe() {
	migrated := func(ctx context.Context, c *container.Container) error {
		out, err := c.Command(ctx, "psql", "--tuples-only", "--command", "SELECT max(version) FROM migrations").Output()
		if err == nil && string(out) == "" {
			err = errors.New("no migration has been applied")
		}
		return err
	}
	db, err := img.Run(ctx, container.Config{
		Ready: container.All(container.Exec("pg_isready"), container.Retry(time.Second, migrated)),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// When it does not become ready the error says why, with the last lines of its
// log; when it ends before, with which code.
func ExampleContainer_WaitReady() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = c.WaitReady(ctx, container.Log("ready to accept connections", 1))
	var exit *container.ExitError
	switch {
	case errors.As(err, &exit):
		log.Fatalf("it ended with %d: %v", exit.Code, err)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println("at your service")
}
