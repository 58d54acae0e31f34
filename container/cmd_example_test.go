package container_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/ctorhq/ctor/container"
)

// What a Go programmer does with a program, done in a container.
func ExampleCmd() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	cmd := c.Command(ctx, "psql", "--tuples-only", "--command", "SELECT version()")
	cmd.User = "postgres"
	out, err := cmd.Output()
	var exit *container.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		log.Fatal("there is no psql in it")
	case errors.As(err, &exit):
		log.Fatalf("it ended with %d: %s", exit.Code, exit.Stderr)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Printf("%s", out)
}

func ExampleContainer_Command() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	dump, err := os.Create("db.sql")
	if err != nil {
		log.Fatal(err)
	}
	defer dump.Close()
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := c.Command(limited, "pg_dump", "shop")
	cmd.Stdout, cmd.Stderr = dump, os.Stderr
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
}

// A shell for whoever sits at the program's terminal.
func ExampleCmd_Start() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	sh := c.Command(ctx, "sh")
	sh.TTY, sh.Stdin, sh.Stdout = true, os.Stdin, os.Stdout
	if err := sh.Start(); err != nil {
		log.Fatal(err)
	}
	if err := sh.Wait(); err != nil {
		log.Fatal(err)
	}
}

func ExampleCmd_StdinPipe() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	cmd := c.Command(ctx, "psql", "shop")
	in, err := cmd.StdinPipe()
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer in.Close()
		_, _ = io.WriteString(in, "DELETE FROM baskets WHERE empty;")
	}()
	if out, err := cmd.CombinedOutput(); err != nil {
		log.Fatalf("%v: %s", err, out)
	}
}

// Asked in good order first: SIGTERM when ctx ends, and five seconds for it.
func ExampleProcess() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	cmd := c.Command(ctx, "pg_basebackup", "--pgdata=/backup")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
}

func ExampleProcessState() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	cmd := c.Command(ctx, "pg_isready")
	_ = cmd.Run() // its exit code says it all
	if s := cmd.ProcessState; s != nil {
		fmt.Println("pg_isready:", s) // "exit code 2"
	}
}
