package image_test

import (
	"cmp"
	"context"
	"crypto/subtle"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry"
)

// The examples' engine, as ctor.Open gives it.
var (
	ctx    = context.Background()
	engine *ctor.Engine
)

// An image is pulled once, and run.
func Example() {
	e, err := ctor.Open(ctx, ctor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	img, err := image.Pull(ctx, e, "alpine:3.22", nil)
	if err != nil {
		log.Fatal(err)
	}
	c, err := img.Run(ctx, container.Config{Args: []string{"uname", "-a"}, Stdout: os.Stdout})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Wait(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExamplePull() {
	img, err := image.Pull(ctx, engine, "ghcr.io/team/app:v1", &image.PullOptions{
		Policy: image.PullAlways,
		Progress: func(p image.Progress) {
			fmt.Printf("%.19s %s %d/%d\n", p.Layer, p.Phase, p.Bytes, p.Total)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.Ref(), img.Digest())
}

// An image for another machine can be changed and published from here.
func ExamplePullOptions() {
	img, err := image.Pull(ctx, engine, "alpine", &image.PullOptions{
		Platform: "linux/arm64",
		Registry: &registry.Options{Mirrors: []string{"mirror.example.com"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.Spec().Architecture)
}

func ExamplePolicy() {
	for _, p := range []image.Policy{image.PullMissing, image.PullAlways, image.PullNever, image.PullNewer} {
		if _, err := image.Pull(ctx, engine, "app", &image.PullOptions{Policy: p}); err != nil {
			log.Println(err)
		}
	}
}

// A program counts what is there of all layers.
func ExampleProgress() {
	layers := map[string]image.Progress{}
	progress := func(p image.Progress) { // by one goroutine at a time
		layers[p.Layer.String()] = p
		var have, all int64
		for _, l := range layers {
			have, all = have+l.Bytes, all+l.Total
		}
		fmt.Printf("\r%d of %d bytes", have, all)
	}
	if _, err := image.Pull(ctx, engine, "app", &image.PullOptions{Progress: progress}); err != nil {
		log.Fatal(err)
	}
}

// The words that docker uses.
func ExamplePhase() {
	words := map[image.Phase]string{
		image.Waiting:    "Pulling fs layer",
		image.Fetching:   "Downloading",
		image.Fetched:    "Download complete",
		image.Extracting: "Extracting",
		image.Complete:   "Pull complete",
		image.Exists:     "Already exists",
	}
	fmt.Println(words[image.Exists])
	// Output: Already exists
}

// What a new version of an image changes.
func ExampleDiff() {
	old, err := image.Get(ctx, engine, "app:v1")
	if err != nil {
		log.Fatal(err)
	}
	img, err := image.Get(ctx, engine, "app:v2")
	if err != nil {
		log.Fatal(err)
	}
	for c, err := range image.Diff(ctx, old, img) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c)
	}
}

// What would be free without each image, the most first.
func ExampleUsage() {
	u, err := image.DiskUsage(ctx, engine)
	if err != nil {
		log.Fatal(err)
	}
	slices.SortFunc(u.Images, func(a, b image.ImageUsage) int { return cmp.Compare(b.Size-b.Shared, a.Size-a.Shared) })
	for _, i := range u.Images {
		fmt.Printf("%10d %s\n", i.Size-i.Shared, i.Ref)
	}
	fmt.Printf("%10d in all\n", u.Total)
}

func ExampleImageUsage() {
	u, err := image.DiskUsage(ctx, engine)
	if err != nil {
		log.Fatal(err)
	}
	for _, i := range u.Images {
		fmt.Printf("%s: %d bytes, %d of them shared, %d containers\n", i.Ref, i.Size, i.Shared, i.Used)
	}
}

// What is older than a week and has no container goes, unless it is a base.
func ExamplePruneOptions() {
	report, err := image.Prune(ctx, engine, &image.PruneOptions{
		Before: time.Now().AddDate(0, 0, -7),
		Keep:   func(i *image.Image) bool { return i.Spec().Config.Labels["role"] == "base" },
		DryRun: true, // look first
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Removed, report.Bytes)
}

func ExampleCheckOptions() {
	damage, err := image.Check(ctx, engine, &image.CheckOptions{
		Progress: func(read, total int64) { fmt.Printf("\r%d of %d bytes", read, total) },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(damage), "parts are damaged")
}

// After a power cut: what is damaged is fetched again, and nothing else.
func ExampleDamage() {
	damage, err := image.Check(ctx, engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range damage {
		log.Println(d)
	}
	if err := image.Repair(ctx, engine, nil, damage...); err != nil {
		log.Fatal(err)
	}
}

// One layer on top of the base image's own, which others share.
func ExampleImage_SquashFrom() {
	base, err := image.Get(ctx, engine, "debian:13")
	if err != nil {
		log.Fatal(err)
	}
	below, err := base.Layers(ctx)
	if err != nil {
		log.Fatal(err)
	}
	app, err := image.Get(ctx, engine, "app") // made of base, by many steps
	if err != nil {
		log.Fatal(err)
	}
	if _, err := app.SquashFrom(ctx, "app:squashed", len(below)); err != nil {
		log.Fatal(err)
	}
}

// A class from scratch: one program, and what to run.
func ExampleNew() {
	program, err := os.ReadFile("hello") // a static one
	if err != nil {
		log.Fatal(err)
	}
	img, err := image.New(ctx, engine, "hello", ocispec.ImageConfig{Cmd: []string{"/hello"}},
		layer.FromFS(fstest.MapFS{"hello": {Data: program, Mode: 0o755}}, nil))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.Digest()) // the same on every machine
}

// A subclass: the same, with a file more and another command.
func ExampleImage_Derive() {
	base, err := image.Pull(ctx, engine, "nginx", nil)
	if err != nil {
		log.Fatal(err)
	}
	site := layer.FromFS(os.DirFS("site"), &layer.Options{Prefix: "usr/share/nginx/html"})
	img, err := base.Derive(ctx, "my-site", func(c *ocispec.ImageConfig) {
		c.Env = append(c.Env, "SITE=my")
	}, site)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.Ref())
}

func ExampleImage() {
	img, err := image.Get(ctx, engine, "alpine")
	if err != nil {
		log.Fatal(err)
	}
	layers, err := img.Layers(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range layers {
		fmt.Println(l.DiffID, l.Size, l.CreatedBy)
	}
	if _, err := img.Tag(ctx, "localhost:5000/alpine"); err != nil {
		log.Fatal(err)
	}
	if err := img.Remove(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExamplePushOptions() {
	img, err := image.Get(ctx, engine, "my-site")
	if err != nil {
		log.Fatal(err)
	}
	err = img.Push(ctx, "registry.example.com/my-site:v1", &image.PushOptions{
		Registry: &registry.Options{Credentials: func(context.Context, string) (registry.Credential, error) {
			return registry.Credential{Username: "ci", Password: os.Getenv("TOKEN")}, nil
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
}

// What somebody did by hand becomes a class.
func ExampleCommitOptions() {
	c, err := container.Get(ctx, engine, "workshop")
	if err != nil {
		log.Fatal(err)
	}
	img, err := image.Commit(ctx, c, "workshop:done", &image.CommitOptions{
		Author:  "me",
		Message: "made by hand",
		Edit:    func(c *ocispec.ImageConfig) { c.Cmd = []string{"/start"} },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.Ref())
}

// An archive goes from one machine to another.
func ExampleImport() {
	f, err := os.Open("images.tar.zst") // or .tar, or .tar.gz
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	list, err := image.Import(ctx, engine, f)
	if err != nil {
		log.Fatal(err)
	}
	if err := image.Export(ctx, os.Stdout, list...); err != nil {
		log.Fatal(err)
	}
}

// What does an image have in it? Nothing of it runs.
func ExampleFS() {
	img, err := image.Pull(ctx, engine, "debian:12", nil)
	if err != nil {
		log.Fatal(err)
	}
	f, err := img.FS(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	release, err := f.ReadFile("etc/os-release") // a link to ../usr/lib/os-release
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", release)
	programs, err := fs.Glob(f, "usr/bin/*")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(programs), "programs")
}

// A program of an image, as if it were one of this host: nothing of it is left.
// A program publishes what it has made. Everybody may pull, and who knows the
// password push.
func ExampleHandler() {
	images := image.Handler(engine)
	log.Fatal(http.ListenAndServe("127.0.0.1:5000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if !reads && subtle.ConstantTimeCompare([]byte(password), []byte(os.Getenv("PUSH_PASSWORD"))) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="images"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		images.ServeHTTP(w, r)
	})))
}

// One name for what was made for two platforms.
func ExampleIndex() {
	var imgs []*image.Image
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		base, err := image.Pull(ctx, engine, "alpine:3.22", &image.PullOptions{Policy: image.PullAlways, Platform: platform})
		if err != nil {
			log.Fatal(err)
		}
		files := layer.FromFS(os.DirFS("build/"+platform), nil)
		img, err := base.Derive(ctx, "app:"+strings.ReplaceAll(platform, "/", "-"), nil, files)
		if err != nil {
			log.Fatal(err)
		}
		imgs = append(imgs, img)
	}
	app, err := image.Index(ctx, engine, "ghcr.io/acme/app:v1", imgs...)
	if err != nil {
		log.Fatal(err)
	}
	if err := app.Push(ctx, "", &image.PushOptions{All: true}); err != nil {
		log.Fatal(err)
	}
}

func ExampleImage_Command() {
	img, err := image.Pull(ctx, engine, "alpine:3.22", nil)
	if err != nil {
		log.Fatal(err)
	}
	cmd := img.Command(ctx, "sha256sum")
	cmd.Stdin = strings.NewReader("hello")
	sum, err := cmd.Output()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", sum)
}
