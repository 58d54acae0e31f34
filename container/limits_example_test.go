package container_test

import (
	"fmt"
	"log"
	"time"

	"github.com/ctorhq/ctor/container"
)

// A batch job leaves the disk to others: ten MiB a second at most, and a small weight.
func ExampleIO() {
	c, err := img.Run(ctx, container.Config{
		Limits: container.Limits{IO: container.IO{
			Weight: 50,
			Rates:  map[string]container.Rate{"/dev/sda": {ReadBytes: 10 << 20, WriteBytes: 10 << 20}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

func ExampleRate() {
	slow := container.Rate{Writes: 100} // operations in a second; the rest is as fast as the disk
	c, err := img.Run(ctx, container.Config{
		Limits: container.Limits{IO: container.IO{Rates: map[string]container.Rate{"/dev/sda": slow}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// A server for many connections, which leaves no core files.
func ExampleUlimit() {
	c, err := img.Run(ctx, container.Config{
		Limits: container.Limits{Ulimits: map[string]container.Ulimit{
			"nofile": {Soft: 65536, Hard: 65536},
			"core":   {},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// A file system in user space needs one device and one capability.
func ExampleDevice() {
	c, err := img.Run(ctx, container.Config{
		Limits:   container.Limits{Devices: []container.Device{{Source: "/dev/fuse"}}},
		Security: container.Security{CapAdd: []string{"SYS_ADMIN"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// A container that turns out to need more gets more, while it runs.
func ExampleContainer_Update() {
	limits := container.Limits{Memory: 256 << 20, Pids: 100}
	c, err := img.Run(ctx, container.Config{Limits: limits})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	limits.Memory *= 2
	if err := c.Update(ctx, limits); err != nil {
		log.Fatal(err)
	}
}

// The counters of a container, every ten seconds until it ends.
func ExampleContainer_StatsEvery() {
	c, err := img.Run(ctx, container.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for s, err := range c.StatsEvery(ctx, 10*time.Second) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v of CPU time, %d MiB\n", s.CPU, s.Memory>>20)
	}
}

// A server that runs as another user than root needs only to bind its port.
func ExampleSecurity() {
	c, err := img.Run(ctx, container.Config{
		User: "www-data",
		Security: container.Security{
			ReadOnly: true,
			CapDrop:  []string{"ALL"},
			CapAdd:   []string{"NET_BIND_SERVICE"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// Code that you don't trust: nothing to write to but /tmp and /work, no rights, no
// network, and a bound on all that it may use.
func ExampleHardened() {
	c, err := img.New(ctx, container.Config{
		Args:     []string{"python3", "/work/main.py"},
		Security: container.Hardened(),
		Limits:   container.Limits{CPUs: 1, Memory: 128 << 20, Pids: 32},
		Mounts:   []container.Mount{{Type: container.Tmpfs, Target: "/work", Size: 16 << 20}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.FS().WriteFile("work/main.py", []byte("print(6*7)"), 0o644); err != nil {
		log.Fatal(err)
	}
	if err := c.Start(ctx); err != nil {
		log.Fatal(err)
	}
}
