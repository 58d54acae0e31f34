package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// exampleServer is a registry with one repository, "greetings".
func exampleServer() (host string, stop func()) {
	h, err := registrytest.Handler(nil)
	if err != nil {
		log.Fatal(err)
	}
	srv := httptest.NewServer(h)
	host = strings.TrimPrefix(srv.URL, "http://")
	reg, err := registry.New(host, nil)
	if err != nil {
		log.Fatal(err)
	}
	blob := "hello, world"
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(blob), Size: int64(len(blob))}
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
		ocispec.MediaTypeImageManifest, layer.MediaType, layer.Digest, layer.Size)
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(manifest), Size: int64(len(manifest))}
	ctx := context.Background()
	if err := errors.Join(
		reg.Push(ctx, "greetings", layer, strings.NewReader(blob)),
		reg.PushManifest(ctx, "greetings:v1", image, strings.NewReader(manifest)),
		reg.Tag(ctx, "greetings:v2", image),
	); err != nil {
		log.Fatal(err)
	}
	return host, srv.Close
}

func Example() {
	host, stop := exampleServer()
	defer stop()
	ctx := context.Background()

	reg, err := registry.New(host, nil)
	if err != nil {
		log.Fatal(err)
	}
	for repo, err := range reg.Repositories(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		for tag, err := range reg.Tags(ctx, repo) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(repo + ":" + tag)
		}
	}
	// Output:
	// greetings:v1
	// greetings:v2
}

func ExampleRegistry_Resolve() {
	host, stop := exampleServer()
	defer stop()

	reg, err := registry.New(host, nil)
	if err != nil {
		log.Fatal(err)
	}
	d, err := reg.Resolve(context.Background(), "greetings:v1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.MediaType)
	fmt.Println(d.Digest)

	_, err = reg.Resolve(context.Background(), "greetings:v3")
	fmt.Println(errors.Is(err, errdefs.ErrNotFound))
	// Output:
	// application/vnd.oci.image.manifest.v1+json
	// sha256:382ff133258b15f0b0e83819467de7ce525573fb8a879bd35af4f68bd1a1fa1b
	// true
}

func ExampleRegistry_Fetch() {
	host, stop := exampleServer()
	defer stop()

	reg, err := registry.New(host, nil)
	if err != nil {
		log.Fatal(err)
	}
	d := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageLayer,
		Digest:    digest.FromString("hello, world"),
		Size:      12,
	}
	rc, err := reg.Fetch(context.Background(), "greetings", d)
	if err != nil {
		log.Fatal(err)
	}
	defer rc.Close()
	verifier := d.Digest.Verifier()
	content, err := io.ReadAll(io.TeeReader(rc, verifier))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(content), verifier.Verified())
	// Output: hello, world true
}

// Credentials from the environment, for one registry only, and a mirror that
// is asked first without any.
func ExampleOptions() {
	reg, err := registry.New("registry.example.com", &registry.Options{
		Credentials: func(_ context.Context, host string) (registry.Credential, error) {
			if host != "registry.example.com" {
				return registry.Credential{}, nil // anonymous
			}
			return registry.Credential{
				Username: os.Getenv("REGISTRY_USER"),
				Password: os.Getenv("REGISTRY_PASSWORD"),
			}, nil
		},
		Mirrors: []string{"mirror.example.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reg.Host())
	// Output: registry.example.com
}

func ExampleCredential() {
	c := registry.Credential{Username: "alice", Password: "s3cret"}
	fmt.Printf("%v, %+v, %#v\n", c, c, registry.Credential{})
	// Output: user alice, user alice, anonymous
}

func ExampleError() {
	host, stop := exampleServer()
	defer stop()

	reg, err := registry.New(host, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = reg.Resolve(context.Background(), "farewells")
	var e *registry.Error
	if errors.As(err, &e) {
		fmt.Println(e.Op, e.Name, e.StatusCode)
	}
	// Output: resolve farewells:latest 404
}

// A bill of materials is published beside the image that it is about, and both
// are copied to another name.
func ExampleCopyOptions() {
	host, stop := exampleServer()
	defer stop()
	ctx := context.Background()

	reg, err := registry.New(host, nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := reg.Attach(ctx, "greetings:v1", "application/spdx+json", map[string][]byte{"sbom.json": []byte("{}")}); err != nil {
		log.Fatal(err)
	}
	if _, err := registry.Copy(ctx, host+"/greetings:v1", host+"/team/hello:v1", &registry.CopyOptions{Referrers: true}); err != nil {
		log.Fatal(err)
	}
	for d, err := range reg.Referrers(ctx, "team/hello:v1", "application/spdx+json") {
		if err != nil {
			log.Fatal(err)
		}
		files, err := reg.Files(ctx, "team/hello", d)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", files["sbom.json"])
	}
	// Output: {}
}

func ExampleSearchResult() {
	host, stop := exampleServer()
	defer stop()

	reg, err := registry.New(host, nil)
	if err != nil {
		log.Fatal(err)
	}
	for found, err := range reg.Search(context.Background(), "greet") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(found.Name)
	}
	// Output: greetings
}

// An image goes to a directory, to be carried to a machine without a network.
func ExampleProgress() {
	host, stop := exampleServer()
	defer stop()
	dir, err := os.MkdirTemp("", "stick")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	var bytes int64
	_, err = registry.Copy(context.Background(), host+"/greetings:v1", "oci:"+dir+":greetings", &registry.CopyOptions{
		Progress: func(p registry.Progress) {
			if p.Done {
				bytes += p.Total
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("copied:", bytes > 0)
	// Output: copied: true
}
