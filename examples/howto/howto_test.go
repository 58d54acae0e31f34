package howto_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
)

// What each program has: an engine, and an image that it has pulled.
var (
	ctx = context.Background()
	e   *ctor.Engine
	img *image.Image
)

// A database for each test: gone with the test, however that ends, and none of its
// ports is published.
func Example_database() {
	database := func(t *testing.T) func(ctx context.Context) (net.Conn, error) {
		img, err := image.Pull(t.Context(), containertest.Engine(t), "postgres:17", nil)
		if err != nil {
			t.Fatal(err)
		}
		c := containertest.Run(t, img, container.Config{
			Env:   []string{"POSTGRES_PASSWORD=secret"},
			Ready: container.Log("ready to accept connections", 2), // it starts twice
		})
		return func(ctx context.Context) (net.Conn, error) { return c.Dial(ctx, "tcp", ":5432") }
	}
	_ = database // the function is for your driver, such as pgx's DialFunc
}

// A box that remembers: its files stay when this program ends, and it is running again
// after the next Open, of this program or another.
func Example_stateful() {
	c, err := container.Get(ctx, e, "box")
	if errors.Is(err, ctor.ErrNotFound) {
		c, err = img.Run(ctx, container.Config{
			Name: "box", Args: []string{"sleep", "infinity"}, Init: true,
			Keep: true, Restart: container.UnlessStopped,
		})
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Command(ctx, "sh", "-c", "date >>/root/visits").Run(); err != nil {
		log.Fatal(err)
	}
	visits, err := c.FS().ReadFile("root/visits")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(visits))
}

// A proxy and a secret: the container reaches two hosts, each connection is written
// down, and the token that it sends is put in on the way, and never enters.
func Example_secret() {
	out := egress.Record(os.Stderr, egress.Mux{
		"api.github.com:443": egress.Secret(egress.Public, "api.github.com", "TOKEN-GOES-HERE", os.Getenv("GITHUB_TOKEN")),
		"proxy.golang.org":   egress.Public,
	}.Dial)
	c, err := img.Run(ctx, container.Config{
		Args:    []string{"gh", "api", "user"},
		Env:     []string{"GITHUB_TOKEN=TOKEN-GOES-HERE"},
		Network: container.Out(out),
		Stdout:  os.Stdout,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Wait(ctx); err != nil {
		log.Fatal(err)
	}
}

// Logs, numbers and events to a system of one's own: here to slog. examples/runner has
// a collector for Prometheus, and traces.
func Example_observe() {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e, err := ctor.Open(ctx, ctor.Config{Logger: logger}) // also tells what happens to containers
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	for ev, err := range e.EventsAfter(ctx, 0, &ctor.EventFilter{Actions: []ctor.EventAction{ctor.Started}}) {
		if err != nil {
			log.Fatal(err)
		}
		c, err := container.Get(ctx, e, ev.ID)
		if errors.Is(err, ctor.ErrNotFound) {
			continue // it is gone already
		} else if err != nil {
			log.Fatal(err)
		}
		go func() {
			lines, err := c.Logs(ctx, &container.LogOptions{Follow: true, Timestamps: true})
			if err != nil {
				return
			}
			defer lines.Close()
			_, _ = io.Copy(os.Stdout, lines)
		}()
		if s, err := c.Stats(ctx); err == nil {
			logger.Info("stats", "container", c.ID(), "cpu", s.CPU, "memory", s.Memory)
		}
	}
}

// Upgrading the library under detached instances: look which of them the new version
// can't speak to, before the old program goes, and start those anew.
func Example_upgrade() {
	list, err := container.List(ctx, e)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range list {
		_, err := c.Info(ctx)
		if err == nil {
			continue // the two understand each other
		}
		fmt.Println(c.Name(), "runs on, and is another version's:", err) // its log can be read
		if err := c.Remove(ctx); err != nil {                            // ends it
			log.Fatal(err)
		}
	}
}

// A health check of one's own, which the load balancer asks by way of the program.
func Example_health() {
	c, err := img.Run(ctx, container.Config{
		Health: &container.Healthcheck{Args: []string{"wget", "-q", "-O", "/dev/null", "http://localhost/healthz"}, Interval: 5 * time.Second},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if i, err := c.Info(r.Context()); err != nil || i.Health == container.HealthBad {
			http.Error(w, i.HealthSays, http.StatusServiceUnavailable)
		}
	})
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}
