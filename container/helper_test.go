package container_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// helperRoot names the root on which a helper starts containers. It says "ready" then,
// and does not close them.
const helperRoot = "CTOR_TEST_ROOT"

// helperWait has a helper say "ready" before it does anything, and wait for a line.
const helperWait = "CTOR_TEST_WAIT"

// asPrograms are the helpers as the test binary is executed as them.
func asPrograms() map[string]func([]string) error {
	all := map[string]func([]string) error{}
	for name, run := range helpers {
		all[name] = func([]string) error {
			if os.Getenv(helperWait) != "" {
				fmt.Println("ready")
				if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
					return err
				}
			}
			return run(context.Background())
		}
	}
	return all
}

var helpers = map[string]func(context.Context) error{
	"detached": func(ctx context.Context) error {
		for _, script := range []string{
			"echo to stdout; echo to stderr >&2; trap 'echo stopped; exit 9' TERM; while true; do sleep 0.05; done",
			"i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; exit 4",
		} {
			cfg := sh(script)
			cfg.Detach, cfg.Name, cfg.Labels = true, "running", map[string]string{"kept": "yes"}
			if strings.HasSuffix(script, "exit 4") {
				cfg.Name = "ended"
			}
			if _, err := helperRun(ctx, cfg); err != nil {
				return err
			}
		}
		fmt.Println("ready")
		if os.Getenv("CTOR_TEST_EXIT") != "" {
			os.Exit(0) // with deferred calls undone, as programs do
		}
		select {}
	},
	// Starts two containers again and again until it is killed in the middle of it.
	"again": func(ctx context.Context) error {
		kept, err := helperRun(ctx, container.Config{Name: "kept", Args: []string{"sh", "-c", counts}, Keep: true})
		if err != nil {
			return err
		}
		detached, err := helperRun(ctx, container.Config{Name: "detached", Args: []string{"sh", "-c", counts}, Detach: true})
		if err != nil {
			return err
		}
		fmt.Println("ready")
		for {
			for _, c := range []*container.Container{kept, detached} {
				if err := c.Wait(ctx); err != nil {
					return err
				}
				if err := c.Start(ctx); err != nil {
					return err
				}
			}
		}
	},
	"kept": func(ctx context.Context) error {
		cfg := sh(counts + "; sleep 1000")
		cfg.Keep, cfg.Name = true, "kept"
		c, err := helperRun(ctx, cfg)
		if err != nil {
			return err
		}
		if err := c.WaitReady(ctx, container.Log("life 1", 1)); err != nil {
			return err
		}
		fmt.Println("ready")
		select {}
	},
	// Has two containers that crash again and again.
	"loops": func(ctx context.Context) error {
		for name, of := range map[string]func(container.Config) container.Config{"kept": kinds["kept"], "detached": kinds["detached"]} {
			cfg := of(sh(counts + "; exit 1"))
			cfg.Name, cfg.Restart = name, container.Always
			if _, err := helperRun(ctx, cfg); err != nil {
				return err
			}
		}
		fmt.Println("ready")
		select {}
	},
	// Detaches a container with a way out that is data.
	"out": func(ctx context.Context) error {
		cfg := sh("while true; do wget -q -O - http://10.99.0.2/ 2>&1; wget -q -O - http://10.99.0.3/ 2>&1; sleep 0.05; done")
		cfg.Name, cfg.Detach = "out", true
		cfg.Network = container.Out(egress.Mux{"*": egress.Allow("10.99.0.2:80")}.Dial)
		if _, err := helperRun(ctx, cfg); err != nil {
			return err
		}
		fmt.Println("ready")
		select {}
	},
	// Serves HTTP.
	"server": func(context.Context) error {
		l, err := net.Listen("tcp", ":80")
		if err != nil {
			return err
		}
		fmt.Println("ready")
		return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "here") }))
	},
	"attached": func(ctx context.Context) error {
		for i := range 5 {
			if _, err := helperRun(ctx, container.Config{Name: fmt.Sprint("attached", i), Args: []string{"sh", "-c", "sleep 1000 & sleep 1000"}}); err != nil {
				return err
			}
		}
		fmt.Println("ready")
		select {}
	},
	// Listens in a detached container, and on a directory of the host's.
	"listening": func(ctx context.Context) error {
		cfg := sh("sleep 1000")
		cfg.Name, cfg.Detach = "listening", true
		cfg.Mounts = []container.Mount{{Source: os.Getenv("CTOR_TEST_SHARED"), Target: "/shared"}}
		c, err := helperRun(ctx, cfg)
		if err != nil {
			return err
		}
		for _, l := range listeners {
			if _, err := c.Listen(ctx, l.network, l.address); err != nil {
				return err
			}
		}
		fmt.Println("ready")
		select {}
	},
	// Makes and deletes containers until it is killed in the middle of it.
	"busy": func(ctx context.Context) error {
		fmt.Println("ready")
		for n := 0; ; n++ {
			c, err := helperRun(ctx, container.Config{Name: fmt.Sprint("busy", n%3), Args: []string{"true"}, Detach: n%3 == 0})
			if err != nil {
				return err
			}
			if err := c.Close(); err != nil {
				return err
			}
		}
	},
}

var helperEngine *ctor.Engine

func helperRun(ctx context.Context, cfg container.Config) (*container.Container, error) {
	if helperEngine == nil {
		var err error
		if helperEngine, err = ctor.Open(ctx, ctor.Config{Root: os.Getenv(helperRoot)}); err != nil {
			return nil, err
		}
	}
	img, err := image.Get(ctx, helperEngine, "ctor.test/busybox:1")
	if err != nil {
		return nil, err
	}
	return img.Run(ctx, cfg)
}

// startHelper runs a helper until it says that it is ready.
func startHelper(t *testing.T, name, root string, env ...string) *fixture.Started {
	t.Helper()
	cmd := fixture.Program(name)
	cmd.Env = append(append(cmd.Env, env...), helperRoot+"="+root)
	return fixture.Start(t, cmd)
}
