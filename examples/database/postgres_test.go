package database_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// Each of the tests has a PostgreSQL of its own, whose table nobody else has.
func TestPostgres(t *testing.T) {
	// With a registry at hand: image.Pull(t.Context(), e, "postgres:17", nil).
	// Here the image is made of Debian's package.
	img := fixture.Postgres(t, containertest.Engine(t))
	server(t, img, answers, new(times)) // the first one takes longer: it unpacks the image
	var times times
	t.Cleanup(func() { times.print(t) })
	for i := range parallel {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			c := server(t, img, answers, &times)
			db, err := connect(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close(context.Background())
			if _, err := db.Exec(t.Context(), "CREATE TABLE squares AS SELECT n, n*n AS square FROM generate_series(1, $1::int) n", i); err != nil {
				t.Fatal(err)
			}
			var sum int
			if err := db.QueryRow(t.Context(), "SELECT coalesce(sum(square), 0) FROM squares").Scan(&sum); err != nil {
				t.Fatal(err)
			}
			if want := i * (i + 1) * (2*i + 1) / 6; sum != want {
				t.Errorf("the squares up to %d add up to %d, want %d", i, sum, want)
			}
		})
	}
}

// connect opens a connection from within the container's network.
func connect(ctx context.Context, c *container.Container) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig("postgres://postgres@localhost:5432/postgres?sslmode=disable")
	if err != nil {
		return nil, err
	}
	cfg.DialFunc = c.Dial
	return pgx.ConnectConfig(ctx, cfg)
}

// answers is a probe of one's own: PostgreSQL takes connections a moment before
// it answers queries.
func answers(ctx context.Context, c *container.Container) error {
	db, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer db.Close(context.Background())
	return db.Ping(ctx)
}
