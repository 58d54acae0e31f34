package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/distribution/reference"

	"github.com/ctorhq/ctor/registry"
)

func (t *tool) copy(ctx context.Context, flags *flag.FlagSet, args []string) error {
	o := &registry.CopyOptions{}
	flags.Func("platform", "one to copy, such as linux/arm64; may be repeated; all unless set", func(s string) error {
		o.Platforms = append(o.Platforms, s)
		return nil
	})
	flags.BoolVar(&o.Referrers, "referrers", false, "also what is about the image: signatures, bills of materials")
	args, err := parse(flags, args)
	if err != nil {
		return err
	}
	b := newBars(t.stderr)
	o.Progress = func(p registry.Progress) {
		what := "copying"
		if p.There {
			what = "exists"
		} else if p.Done {
			what = "complete"
		}
		b.show(short(p.Blob), what, p.Bytes, p.Total, p.Done)
	}
	d, err := registry.Copy(ctx, args[0], args[1], o)
	b.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "%s\n%s\n", args[1], d)
	return nil
}

// at finds the registry of a name, and the name there.
func at(ref string) (r *registry.Registry, repo, name string, err error) {
	n, err := reference.ParseDockerRef(ref)
	if err != nil {
		return nil, "", "", fmt.Errorf("%q: %w", ref, err)
	}
	r, err = registry.New(reference.Domain(n), nil)
	return r, reference.Path(n), n.String(), err
}

func (t *tool) tags(ctx context.Context, flags *flag.FlagSet, args []string) error {
	args, err := parse(flags, args)
	if err != nil {
		return err
	}
	r, repo, _, err := at(args[0])
	if err != nil {
		return err
	}
	for tag, err := range r.Tags(ctx, repo) {
		if err != nil {
			return err
		}
		fmt.Fprintln(t.stdout, tag)
	}
	return nil
}

func (t *tool) search(ctx context.Context, flags *flag.FlagSet, args []string) error {
	most := flags.Int("n", 25, "how many at most")
	args, err := parse(flags, args)
	if err != nil {
		return err
	}
	host, term, named := strings.Cut(args[0], "/")
	if !named || !strings.ContainsAny(host, ".:") {
		host, term = "docker.io", args[0]
	}
	r, err := registry.New(host, nil)
	if err != nil {
		return err
	}
	w := t.table("NAME\tSTARS\tOFFICIAL\tDESCRIPTION")
	defer w.Flush()
	left := *most
	for f, err := range r.Search(ctx, term) {
		if err != nil {
			return err
		}
		if left--; left < 0 {
			break
		}
		fmt.Fprintf(w, "%s\t%d\t%v\t%.60s\n", f.Name, f.Stars, f.Official, f.Description)
	}
	return nil
}

// resolve finds the manifest of the one argument in its registry.
func resolve(ctx context.Context, flags *flag.FlagSet, args []string) (r *registry.Registry, repo, name string, d ocispec.Descriptor, err error) {
	if args, err = parse(flags, args); err != nil {
		return nil, "", "", d, err
	}
	if r, repo, name, err = at(args[0]); err != nil {
		return nil, "", "", d, err
	}
	d, err = r.Resolve(ctx, name)
	return r, repo, name, d, err
}

// inspect asks the registry alone: nothing is pulled.
func (t *tool) inspect(ctx context.Context, flags *flag.FlagSet, args []string) error {
	r, repo, name, d, err := resolve(ctx, flags, args)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "%s\n%s\n", name, d.Digest)
	b, err := r.Read(ctx, repo, d)
	if err != nil {
		return err
	}
	if err := t.json("manifest", b); err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil || m.Config.Digest == "" {
		return err
	}
	if b, err = r.Read(ctx, repo, ocispec.Descriptor{Digest: m.Config.Digest, Size: m.Config.Size}); err != nil {
		return err
	}
	return t.json("configuration", b)
}

// json prints a document so that it can be read. In it no control character stands
// for itself.
func (t *tool) json(what string, b []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_, err := fmt.Fprintf(t.stdout, "\n%s:\n%s\n", what, &out)
	return err
}
