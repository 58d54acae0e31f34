package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
)

// language is how source of a kind is run.
type language struct {
	Image   string   // reference, pulled if it is missing
	File    string   // where the source is put: below /tmp, the one place that can be written to
	Command []string // that runs it

	image *image.Image
}

// common are the languages of a service that is given none.
var common = map[string]*language{
	"sh":     {Image: "busybox:1", File: "/tmp/main.sh", Command: []string{"sh", "/tmp/main.sh"}},
	"python": {Image: "python:3-alpine", File: "/tmp/main.py", Command: []string{"python", "/tmp/main.py"}},
	"node":   {Image: "node:lts-alpine", File: "/tmp/main.js", Command: []string{"node", "/tmp/main.js"}},
}

// readLanguages reads a file of them, by their names; "" is the common ones.
func readLanguages(path string) (map[string]*language, error) {
	if path == "" {
		return common, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all map[string]*language
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// fetch has the images there before the first request comes.
func fetch(ctx context.Context, e *ctor.Engine, all map[string]*language) (err error) {
	for _, l := range all {
		if l.image, err = image.Pull(ctx, e, l.Image, nil); err != nil {
			return err
		}
	}
	return nil
}
