package network_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"os"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/network"
)

var (
	ctx           = context.Background()
	e             *ctor.Engine
	postgres, app *image.Image
)

// A database and what uses it, which finds it by its name.
func Example() {
	nw, err := network.New(ctx, e, network.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer nw.Remove(ctx)
	db, err := postgres.Run(ctx, container.Config{
		Network: nw.Join("db"),
		Env:     []string{"POSTGRES_HOST_AUTH_METHOD=trust"},
		Ready:   container.TCP(5432),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	migrate, err := app.Run(ctx, container.Config{
		Network: nw.Join(),
		Args:    []string{"migrate", "postgres://postgres@db:5432/postgres"},
		Stdout:  os.Stdout,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer migrate.Close()
	if err := migrate.Wait(ctx); err != nil {
		log.Fatal(err)
	}
}

// A network of chosen addresses, whose containers reach one host outside.
func ExampleConfig() {
	nw, err := network.New(ctx, e, network.Config{
		Name:    "build",
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/24")},
		Out:     egress.Allow("proxy.golang.org:443"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer nw.Remove(ctx)
}

// The program asks a container, and serves the containers itself.
func ExampleNetwork() {
	nw, err := network.New(ctx, e, network.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer nw.Remove(ctx)
	l, err := nw.Listen(ctx, "tcp", "billing:80") // http://billing/ in the containers
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "paid") }))

	web, err := app.Run(ctx, container.Config{Network: nw.Join("web"), Ready: container.TCP(80)})
	if err != nil {
		log.Fatal(err)
	}
	defer web.Close()
	client := http.Client{Transport: &http.Transport{DialContext: nw.Dial}}
	resp, err := client.Get("http://web/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
}

// A proxy between two networks, whose containers don't reach each other.
func ExampleNetwork_several() {
	front, err := network.New(ctx, e, network.Config{Name: "front"})
	if err != nil {
		log.Fatal(err)
	}
	back, err := network.New(ctx, e, network.Config{Name: "back"})
	if err != nil {
		log.Fatal(err)
	}
	proxy, err := app.Run(ctx, container.Config{
		Network: front.Join("www").And(back.Join()),
		Publish: []container.Port{{Host: "127.0.0.1:0", Container: 80}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("http://" + proxy.Addr(80).String())
}

// A container that runs is taken into a network and out of it.
func ExampleNetwork_Connect() {
	nw, err := network.Get(ctx, e, "build")
	if err != nil {
		log.Fatal(err)
	}
	c, err := container.Get(ctx, e, "cache")
	if err != nil {
		log.Fatal(err)
	}
	if err := nw.Connect(ctx, c, "go-cache"); err != nil {
		log.Fatal(err)
	}
	if err := nw.Disconnect(ctx, c); err != nil {
		log.Fatal(err)
	}
}

func ExampleInfo() {
	all, err := network.List(ctx, e)
	if err != nil {
		log.Fatal(err)
	}
	for _, nw := range all {
		i := nw.Info()
		fmt.Println(i.Name, i.Subnets, len(i.Containers))
	}
}

func ExampleMember() {
	nw, err := network.Get(ctx, e, "build")
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range nw.Info().Containers {
		fmt.Println(m.Name, m.Aliases, m.Addresses)
	}
}
