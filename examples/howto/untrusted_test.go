package howto_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/ctorhq/ctor/container"
)

// Untrusted code: no network, no rights, bounds on all that it can use up, and an end.
func Example_untrusted() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out strings.Builder
	c, err := img.Run(ctx, container.Config{
		Args: []string{"python3", "-c", "print(6 * 7)"},
		User: "65534:65534", Dir: "/tmp", Init: true,
		Stdout: &out, Stderr: &out,
		Limits:   container.Limits{CPUs: 1, Memory: 128 << 20, Pids: 64},
		Security: container.Hardened(),
		LogLimit: 1 << 20, // the network is its own, with nothing in it, unless Network says otherwise
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close() // kills it, whatever it does
	var exit *container.ExitError
	switch err := c.Wait(ctx); {
	case errors.As(err, &exit) && exit.OOMKilled:
		fmt.Println("it wanted more memory")
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Println("it took too long")
	case err != nil:
		fmt.Println(err)
	}
	fmt.Print(out.String())
}
