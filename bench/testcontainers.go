package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	dockerapi "github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/wait"
)

// testcontainersPeer is what Go tests use to start containers, without its
// reaper: that is an image of the internet's, and would cost once a program.
type testcontainersPeer struct{}

func (t *testcontainersPeer) name() string { return "testcontainers-go" }

func (t *testcontainersPeer) start(ctx context.Context, b *bench) error {
	d, err := b.needDockerd(ctx)
	if err != nil {
		return err
	}
	log.SetDefault(quiet{})
	// It takes its settings from the environment only.
	for _, kv := range append(d.env(), "TESTCONTAINERS_RYUK_DISABLED=true") {
		name, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (t *testcontainersPeer) life(ctx context.Context) error {
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image: ref,
			Cmd:   []string{"true"},
			HostConfigModifier: func(h *dockerapi.HostConfig) {
				h.NetworkMode = "none"
			},
			// The poll is shorter than the default, so that what is measured
			// is the library and not a pause of 100 ms.
			WaitingFor: wait.ForExit().WithPollInterval(time.Millisecond),
		},
		Started: true,
	})
	if err != nil {
		return err
	}
	return errors.Join(err, c.Terminate(ctx))
}

// quiet is a logger that says nothing.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
