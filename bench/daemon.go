package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// daemon is a server that the bench has started.
type daemon struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
}

// startDaemon starts a server and waits until something listens on socket.
func startDaemon(ctx context.Context, log, socket, path string, args ...string) (*daemon, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Env = append(os.Environ(), tmp(filepath.Dir(log)))
	// A group of its own: ^C in a terminal is for the bench, which ends the
	// daemons when their containers are gone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd: cmd, log: log, exited: make(chan struct{})}
	go func() {
		defer close(d.exited)
		_ = cmd.Wait() // its end is what matters
	}()
	if err := d.ready(ctx, socket); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// tmp has a program leave nothing in the host's /tmp: containerd puts stack
// dumps there, and ctr mount points, if it is killed.
func tmp(dir string) string { return "TMPDIR=" + dir }

func (d *daemon) ready(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if c, err := net.Dial("unix", socket); err == nil {
			return c.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-d.exited:
			return fmt.Errorf("%s ended: %s", filepath.Base(d.cmd.Path), d.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w: %s", filepath.Base(d.cmd.Path), socket, ctx.Err(), d.tail())
		}
	}
}

// tail is the end of what the daemon said.
func (d *daemon) tail() string {
	b, _ := os.ReadFile(d.log)
	return string(b[max(0, len(b)-2000):])
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// stop ends the daemon, in good order if it can.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
		return nil
	case <-time.After(15 * time.Second):
	}
	_ = d.cmd.Process.Kill()
	<-d.exited
	return nil
}
