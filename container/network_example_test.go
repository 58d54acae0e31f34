package container_test

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
)

// A container that reaches two hosts: one on the internet, with a secret that it
// never sees, and one that this program answers for.
func ExampleNetwork() {
	billing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "paid") })
	github := egress.Secret(egress.Public, "api.github.com", "GITHUB-TOKEN", os.Getenv("GITHUB_TOKEN"))
	c, err := img.Run(ctx, container.Config{
		Env: []string{"TOKEN=GITHUB-TOKEN"},
		Network: container.Out(egress.Mux{
			"api.github.com:443": github,
			"billing.test":       egress.Handler(billing),
		}.Dial),
		Args:   []string{"sh", "-c", "wget -q -O - http://billing.test/"},
		Stdout: os.Stdout,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Wait(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExamplePort() {
	c, err := img.Run(ctx, container.Config{
		Args:    []string{"httpd", "-f", "-p", "80"},
		Publish: []container.Port{{Host: "127.0.0.1:0", Container: 80}},
		Ready:   container.TCP(80),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println("it listens on", c.Addr(80))
}

// A debugger beside a server: it reaches what listens on the server's loopback.
func ExampleShare() {
	server, err := img.Run(ctx, container.Config{Args: []string{"httpd", "-f", "-p", "127.0.0.1:80"}})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	probe, err := img.Run(ctx, container.Config{
		Network: container.Share(server),
		Args:    []string{"wget", "-q", "-O", "-", "http://127.0.0.1/"},
		Stdout:  os.Stdout,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer probe.Close()
}
