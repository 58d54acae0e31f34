package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd/console"

	"github.com/ctorhq/ctor/container"
)

// runOn runs a command on the terminal that in is: each key goes to the box, ^C
// too, and the command knows how large the terminal is, also when that changes.
// Where in is no terminal the command has it as a plain input.
func runOn(in *os.File, cmd *container.Cmd) error {
	terminal, err := console.ConsoleFromFile(in)
	if err != nil {
		return cmd.Run()
	}
	cmd.TTY = true
	fit := func() {
		if size, err := terminal.Size(); err == nil {
			_ = cmd.Resize(size.Width, size.Height) // it may have ended
		}
	}
	fit()
	if err := terminal.SetRaw(); err != nil {
		return err
	}
	defer terminal.Reset()
	// The box's own terminal has made the ends of lines already; a program that
	// fills the screen means it when it sends none.
	if err := console.ClearONLCR(in.Fd()); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer close(resized)
	defer signal.Stop(resized)
	fit() // what changed until now
	go func() {
		for range resized {
			fit()
		}
	}()
	return cmd.Wait()
}
