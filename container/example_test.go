package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
)

var (
	ctx context.Context
	e   *ctor.Engine
	img *image.Image
)

func Example() {
	c, err := img.Run(ctx, container.Config{
		Args:   []string{"echo", "hello"},
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

// Jobs that begin at once: each is an instance of its own, which waits for its command
// until there is one.
func ExamplePool() {
	pool, err := img.Warm(ctx, 4, container.Config{Limits: container.Limits{Memory: 256 << 20}})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	for _, script := range []string{"print(1)", "print(2)"} {
		c, err := pool.Claim(ctx, container.Claim{Args: []string{"python3", "-c", script}, Stdout: os.Stdout})
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		if err := c.Start(ctx); err != nil {
			log.Fatal(err)
		}
		if err := c.Wait(ctx); err != nil {
			log.Fatal(err)
		}
	}
}

func ExampleClaim() {
	pool, err := img.Warm(ctx, 1, container.Config{Env: []string{"LANG=C"}})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	c, err := pool.Claim(ctx, container.Claim{
		Name: "job-7", Args: []string{"sort"}, Env: []string{"TMPDIR=/var/tmp"}, User: "nobody",
		Stdin: strings.NewReader("b\na\n"), Stdout: os.Stdout,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		log.Fatal(err)
	}
}

// A workspace that remembers: its files stay when this program ends, and the next
// one goes on with them.
func ExampleContainer_Start() {
	c, err := container.Get(ctx, e, "workspace")
	if errors.Is(err, ctor.ErrNotFound) {
		c, err = img.New(ctx, container.Config{Name: "workspace", Keep: true, Args: []string{"sleep", "infinity"}})
	}
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close() // ends its processes; Remove would delete it
	if err := c.Start(ctx); err != nil {
		log.Fatal(err)
	}
	if err := c.Command(ctx, "sh", "-c", "date >> /root/visits").Run(); err != nil {
		log.Fatal(err)
	}
}

// A filter: what goes in comes out sorted.
func ExampleConfig() {
	var sorted bytes.Buffer
	c, err := img.Run(ctx, container.Config{
		Args:   []string{"sort", "-u"},
		Env:    []string{"LC_ALL=C"},
		User:   "nobody",
		Stdin:  strings.NewReader("b\na\nb\n"),
		Stdout: &sorted,
		Stderr: os.Stderr,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Print(sorted.String())
}

// What no field of Config says, the OCI configuration does.
func ExampleConfig_spec() {
	cfg := container.Config{
		Spec: func(s *specs.Spec) error {
			s.Linux.Sysctl = map[string]string{"net.core.somaxconn": "1024"}
			return nil
		},
	}
	c, err := img.Run(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// Someone else's program gets half a CPU, 256 MiB and 64 processes.
func ExampleLimits() {
	c, err := img.Run(ctx, container.Config{
		Limits: container.Limits{CPUs: 0.5, Memory: 256 << 20, Pids: 64},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	var exit *container.ExitError
	if errors.As(c.Wait(ctx), &exit) && exit.OOMKilled {
		fmt.Println("it wanted more memory")
	}
}

// The source can be read, and what is written is gone with the container.
func ExampleMount() {
	wd, err := os.Getwd()
	if err != nil {
		log.Fatal(err)
	}
	c, err := img.Run(ctx, container.Config{
		Args: []string{"make", "-C", "/src", "OUT=/out"},
		Mounts: []container.Mount{
			{Source: wd, Target: "/src", ReadOnly: true},
			{Type: container.Tmpfs, Target: "/out", Size: 1 << 30},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

func ExampleMountType() {
	for _, t := range []container.MountType{container.Bind, container.Tmpfs, container.Volume} {
		fmt.Println(t)
	}
	// Output:
	// bind
	// tmpfs
	// volume
}

// A service that outlives the program that starts it.
func ExampleContainer() {
	c, err := container.Get(ctx, e, "db")
	if errors.Is(err, ctor.ErrNotFound) {
		c, err = img.Run(ctx, container.Config{Name: "db", Detach: true})
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Name(), "runs, whoever started it")
}

// In good order: first the asking, at most half a minute, then the killing.
func ExampleContainer_Stop() {
	c, err := img.Run(ctx, container.Config{StopSignal: "SIGQUIT", StopTimeout: 30 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Stop(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleExitError() {
	c, err := img.Run(ctx, container.Config{Args: []string{"sh", "-c", "exit 3"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	var exit *container.ExitError
	switch err := c.Wait(ctx); {
	case err == nil:
		fmt.Println("fine")
	case errors.As(err, &exit):
		fmt.Println("it ended with", exit.Code)
	default:
		log.Fatal(err) // a writer failed, or ctx ended
	}
}

func ExampleInfo() {
	list, err := container.List(ctx, e)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range list {
		i, err := c.Info(ctx)
		if err != nil {
			log.Fatal(err)
		}
		slog.Info("container", "id", i.ID, "name", i.Name, "state", i.State, "image", i.ImageRef, "age", time.Since(i.Created))
	}
}

func ExampleState() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	i, err := c.Info(ctx)
	if err != nil {
		log.Fatal(err)
	}
	switch i.State {
	case container.Created:
		err = c.Start(ctx)
	case container.Paused:
		err = c.Resume(ctx)
	case container.Exited:
		err = c.Close()
	}
	if err != nil {
		log.Fatal(err)
	}
}

// Like tail -f, until the container has ended.
func ExampleLogOptions() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	r, err := c.Logs(ctx, &container.LogOptions{Follow: true, Tail: 10, Timestamps: true})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(os.Stdout, r); err != nil {
		log.Fatal(err)
	}
}

// A web server in a container, as it answers on its own loopback.
func ExampleContainer_Dial() {
	c, err := img.Run(ctx, container.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: c.Dial}}
	resp, err := client.Get("http://localhost:8080/health")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
}

// A client that wants another kind of function. For pgx it is Dial as it is:
// config.DialFunc = c.Dial.
func ExampleContainer_Dial_grpc() {
	c, err := container.Get(ctx, e, "greeter")
	if err != nil {
		log.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///localhost:50051",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return c.Dial(ctx, "tcp", address)
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
}

// What runs in the container asks the program, at http://localhost/, and
// reaches nothing else.
func ExampleContainer_Listen() {
	c, err := img.New(ctx, container.Config{Args: []string{"wget", "-qO-", "http://localhost/job"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	l, err := c.Listen(ctx, "tcp", "127.0.0.1:80")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "sleep 3")
	})) // until the container ends
	if err := c.Start(ctx); err != nil {
		log.Fatal(err)
	}
	if err := c.Wait(ctx); err != nil {
		log.Fatal(err)
	}
}

// How many CPUs a container keeps busy, as docker stats shows it.
func ExampleStats() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	last, err := c.Stats(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for range time.Tick(time.Second) {
		s, err := c.Stats(ctx)
		if err != nil {
			log.Fatal(err)
		}
		busy := float64(s.CPU-last.CPU) / float64(s.Time.Sub(last.Time))
		fmt.Printf("%.0f%% CPU, %d MiB, %d processes\n", 100*busy, s.Memory>>20, s.Pids)
		last = s
	}
}

// Disks that are plugged in while the container runs appear in it.
func ExamplePropagation() {
	c, err := img.Run(ctx, container.Config{Mounts: []container.Mount{{
		Source: "/media", Target: "/media", CreateSource: true,
		Propagation: container.PropagateSlave, ReadOnly: true,
	}}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// A server that is started again when it fails, also by the next program, and not when
// it was stopped.
func ExampleRestart() {
	c, err := img.Run(ctx, container.Config{
		Name: "worker", Keep: true,
		Restart: container.OnFailure(5),
	})
	if err != nil {
		log.Fatal(err)
	}
	i, err := c.Info(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(i.State, i.Restarts)
}

func ExampleProcessInfo() {
	c, err := container.Get(ctx, e, "worker")
	if err != nil {
		log.Fatal(err)
	}
	list, err := c.Top(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range list {
		fmt.Println(p.Pid, p.CPU, p.Memory, p.Args)
	}
}

// A check of one's own instead of the image's HEALTHCHECK, and what it says.
func ExampleHealthcheck() {
	c, err := img.Run(ctx, container.Config{
		Health: &container.Healthcheck{Args: []string{"pg_isready"}, Interval: 5 * time.Second, Retries: 2},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for ev, err := range e.EventsAfter(ctx, 0, &ctor.EventFilter{
		Containers: []string{c.ID()}, Actions: []ctor.EventAction{ctor.Health},
	}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(ev.Time, ev.Detail)
	}
}

func ExampleHealthStatus() {
	c, err := container.Get(ctx, e, "database")
	if err != nil {
		log.Fatal(err)
	}
	i, err := c.Info(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if i.Health == container.HealthBad {
		fmt.Println(c.Name(), "is unwell:", i.HealthSays)
	}
}
