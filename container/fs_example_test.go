package container_test

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"

	"github.com/ctorhq/ctor/container"
)

// A container's files are a file system like any other, to read and to write.
func ExampleFS() {
	c, err := img.New(ctx, container.Config{}) // not started yet
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	f := c.FS()
	if err := f.WriteFile("etc/motd", []byte("hello\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	if err := c.Start(ctx); err != nil {
		log.Fatal(err)
	}
	err = fs.WalkDir(f, "var/log", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := f.ReadFile(name)
		fmt.Println(name, len(b))
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}

//go:embed testdata/*
var testdata embed.FS

// A program brings its fixtures along and fetches results.
func ExampleFS_CopyIn() {
	c, err := img.New(ctx, container.Config{Args: []string{"/work/run"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.FS().CopyIn(ctx, "work", testdata); err != nil {
		log.Fatal(err)
	}
	if err := c.Start(ctx); err != nil {
		log.Fatal(err)
	}
	if err := c.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	out, err := fs.Sub(c.FS(), "work/out")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.CopyFS("results", out); err != nil {
		log.Fatal(err)
	}
}

// A database's directory as a tar, with owners and modes, of one moment.
func ExampleFS_CopyOut() {
	c, err := container.Get(ctx, e, "db")
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Pause(ctx); err != nil {
		log.Fatal(err)
	}
	defer c.Resume(ctx)
	r, err := c.FS().CopyOut(ctx, "var/lib/postgresql")
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	backup, err := os.Create("backup.tar")
	if err != nil {
		log.Fatal(err)
	}
	defer backup.Close()
	if _, err := io.Copy(backup, r); err != nil {
		log.Fatal(err)
	}
}

// What did the installer do?
func ExampleContainer_Changes() {
	c, err := img.Run(ctx, container.Config{Args: []string{"apt-get", "install", "-y", "redis"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	for change, err := range c.Changes(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(change) // "A /etc/redis/redis.conf"
	}
}
