package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ctorhq/ctor/container"
)

// request is what a client sends.
type request struct {
	Language string  `json:"language"`
	Source   string  `json:"source"`
	Stdin    string  `json:"stdin"`
	Timeout  float64 `json:"timeout"` // seconds; 0: 10
	Memory   int64   `json:"memory"`  // MiB; 0: 128
}

// Bounds of what a request may ask for.
const (
	longest    = 60 * time.Second
	mostMemory = 1024
	mostOutput = 1 << 20
	mostSource = 1 << 20
)

// result is how code has ended.
type result struct {
	Code    int     `json:"code"`
	Seconds float64 `json:"seconds"`
	Cut     string  `json:"cut,omitempty"` // "time", "memory", "output" or "error"
	Error   string  `json:"error,omitempty"`
}

// Why code is ended from outside.
var (
	errTime   = errors.New("time")
	errOutput = errors.New("output")
)

// run runs code in a container of its own, and streams its output to a client. The
// end of ctx, which is the client's, is the code's.
func run(ctx context.Context, l *language, r request, out *stream) result {
	limit := longest
	if t := time.Duration(r.Timeout * float64(time.Second)); r.Timeout > 0 && t < limit {
		limit = t
	} else if r.Timeout == 0 {
		limit = 10 * time.Second
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	out.full = func() { end(errOutput) }
	began := time.Now()
	code, err := execute(ctx, l, r, out, func() func() bool {
		return time.AfterFunc(limit, func() { end(errTime) }).Stop
	})
	done := result{Code: code, Seconds: time.Since(began).Seconds()}
	var exit *container.ExitError
	switch cause := context.Cause(ctx); {
	case cause == errTime, cause == errOutput:
		done.Cut = cause.Error()
	case errors.As(err, &exit) && exit.OOMKilled:
		done.Cut = "memory"
	case err != nil && exit == nil:
		done.Cut, done.Error = "error", err.Error()
	}
	return done
}

// execute gives the exit code. clock starts to count the code's time.
func execute(ctx context.Context, l *language, r request, out *stream, clock func() func() bool) (code int, err error) {
	c, err := l.image.New(ctx, hardened(container.Config{
		Entrypoint: l.Command, Args: []string{}, Init: true,
		Stdin:  strings.NewReader(r.Stdin),
		Stdout: out.of("stdout"), Stderr: out.of("stderr"),
		LogLimit: 2 * mostOutput,
	}, r.Memory))
	if err != nil {
		return -1, err
	}
	defer c.Close() // kills it, whatever it does
	if err := c.FS().WriteFile(strings.TrimPrefix(l.File, "/"), []byte(r.Source), 0o644); err != nil {
		return -1, err
	}
	if err := c.Start(ctx); err != nil {
		return -1, err
	}
	defer clock()()
	err = c.Wait(ctx)
	var exit *container.ExitError
	if errors.As(err, &exit) {
		return exit.Code, err
	}
	if err != nil {
		return -1, err
	}
	return 0, nil
}

// hardened are the walls: what is not named here the container does not have, such as
// a network.
func hardened(cfg container.Config, memory int64) container.Config {
	if memory <= 0 {
		memory = 128
	}
	cfg.Security = container.Hardened()
	cfg.User, cfg.Dir = "65534:65534", "/tmp"
	cfg.Limits = container.Limits{CPUs: 1, Memory: max(min(memory, mostMemory), 8) << 20, Pids: 64}
	return cfg
}
