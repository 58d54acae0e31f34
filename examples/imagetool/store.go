package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
)

func (t *tool) pull(ctx context.Context, flags *flag.FlagSet, args []string) error {
	platform := flags.String("platform", "", "one of the image's, such as linux/arm64; this machine's unless set")
	newer := flags.Bool("newer", false, "ask the registry also where the store has the image")
	args, err := parse(flags, args)
	if err != nil {
		return err
	}
	e, err := t.open(ctx)
	if err != nil {
		return err
	}
	policy := image.PullMissing
	if *newer {
		policy = image.PullNewer
	}
	for _, ref := range args {
		b := newBars(t.stderr)
		img, err := image.Pull(ctx, e, ref, &image.PullOptions{Policy: policy, Platform: *platform, Progress: b.image})
		b.end()
		if err != nil {
			return err
		}
		fmt.Fprintf(t.stdout, "%s\n%s\n", img.Ref(), img.Index())
	}
	return nil
}

// image is an image.PullOptions.Progress.
func (b *bars) image(p image.Progress) {
	last := p.Phase == image.Complete || p.Phase == image.Exists
	b.show(short(p.Layer), string(p.Phase), p.Bytes, p.Total, last)
}

func (t *tool) push(ctx context.Context, flags *flag.FlagSet, args []string) error {
	all := flags.Bool("all", false, "all platforms of an image of several")
	args, err := parse(flags, args)
	if err != nil {
		return err
	}
	img, err := t.get(ctx, args[0])
	if err != nil {
		return err
	}
	name := img.Ref()
	if len(args) > 1 {
		name = args[1]
	}
	b := newBars(t.stderr)
	err = img.Push(ctx, name, &image.PushOptions{All: *all, Progress: func(p image.Progress) {
		if p.Phase == image.Fetching {
			p.Phase = "sending"
		}
		b.image(p)
	}})
	b.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "%s@%s\n", name, map[bool]fmt.Stringer{false: img.Digest(), true: img.Index()}[*all])
	return nil
}

// get finds an image in the store.
func (t *tool) get(ctx context.Context, ref string) (*image.Image, error) {
	e, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	return image.Get(ctx, e, ref)
}

func (t *tool) images(ctx context.Context, flags *flag.FlagSet, args []string) error {
	if _, err := parse(flags, args); err != nil {
		return err
	}
	e, err := t.open(ctx)
	if err != nil {
		return err
	}
	list, err := image.List(ctx, e)
	if err != nil {
		return err
	}
	w := t.table("IMAGE\tDIGEST\tPLATFORM\tSIZE")
	for _, i := range list {
		n, err := i.Size(ctx)
		if err != nil {
			return err
		}
		s := i.Spec()
		fmt.Fprintf(w, "%s\t%s\t%s/%s\t%s\n", i.Ref(), short(i.Index()), s.OS, s.Architecture, size(n))
	}
	return w.Flush()
}

func (t *tool) layers(ctx context.Context, flags *flag.FlagSet, args []string) error {
	files := flags.Bool("files", false, "list files, each with the layer that it is from")
	args, err := parse(flags, args)
	if err != nil {
		return err
	}
	img, err := t.get(ctx, args[0])
	if err != nil {
		return err
	}
	list, err := img.Layers(ctx)
	if err != nil {
		return err
	}
	if *files {
		w := t.table("LAYER\tMODE\tSIZE\tPATH")
		for f, err := range layer.Files(ctx, list...) {
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%d\t%v\t%s\t%s\n", f.Layer, f.Info.Mode(), size(f.Info.Size()), visible(f.Path))
		}
		return w.Flush()
	}
	w := t.table("LAYER\tDIGEST\tSIZE\tTYPE\tCREATED BY")
	for n, l := range list {
		kind := l.MediaType[strings.LastIndexAny(l.MediaType, "+.")+1:]
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%.60s\n", n, short(l.Digest), size(l.Size), kind, visible(l.CreatedBy))
	}
	return w.Flush()
}

// visible makes a line of what an image says: a terminal obeys control characters.
func visible(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}

func (t *tool) diff(ctx context.Context, flags *flag.FlagSet, args []string) error {
	args, err := parse(flags, args)
	if err != nil {
		return err
	}
	a, err := t.get(ctx, args[0])
	if err != nil {
		return err
	}
	b, err := t.get(ctx, args[1])
	if err != nil {
		return err
	}
	for c, err := range image.Diff(ctx, a, b) {
		if err != nil {
			return err
		}
		fmt.Fprintln(t.stdout, visible(c.String()))
	}
	return nil
}

func (t *tool) squash(ctx context.Context, flags *flag.FlagSet, args []string) error {
	from := flags.Int("from", 0, "keep so many `layers`, the lowest")
	args, err := parse(flags, args)
	if err != nil {
		return err
	}
	img, err := t.get(ctx, args[0])
	if err != nil {
		return err
	}
	squashed, err := img.SquashFrom(ctx, args[1], *from)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "%s\n%s\n", squashed.Ref(), squashed.Digest())
	return nil
}

func (t *tool) du(ctx context.Context, flags *flag.FlagSet, args []string) error {
	if _, err := parse(flags, args); err != nil {
		return err
	}
	e, err := t.open(ctx)
	if err != nil {
		return err
	}
	u, err := image.DiskUsage(ctx, e)
	if err != nil {
		return err
	}
	w := t.table("IMAGE\tSIZE\tSHARED\tUNIQUE\tCONTAINERS")
	for _, i := range u.Images {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", i.Ref, size(i.Size), size(i.Shared), size(i.Size-i.Shared), i.Used)
	}
	fmt.Fprintf(w, "\t\t\t\t\nin all\t%s\t\t\t\n", size(u.Total))
	if u.Other > 0 {
		fmt.Fprintf(w, "of no image\t%s\t\t\t\n", size(u.Other))
	}
	return w.Flush()
}

func (t *tool) prune(ctx context.Context, flags *flag.FlagSet, args []string) error {
	dry := flags.Bool("n", false, "only tell what would be removed")
	age := flags.Duration("older", 0, "only what has its name for so long, such as 168h")
	keep := flags.String("keep", "", "not what has this `label`, as key or key=value")
	if _, err := parse(flags, args); err != nil {
		return err
	}
	e, err := t.open(ctx)
	if err != nil {
		return err
	}
	o := &image.PruneOptions{DryRun: *dry}
	if *age > 0 {
		o.Before = time.Now().Add(-*age)
	}
	if key, want, exact := strings.Cut(*keep, "="); key != "" {
		o.Keep = func(i *image.Image) bool {
			value, ok := i.Spec().Config.Labels[key]
			return ok && (!exact || value == want)
		}
	}
	report, err := image.Prune(ctx, e, o)
	for _, name := range report.Removed {
		fmt.Fprintln(t.stdout, name)
	}
	fmt.Fprintf(t.stdout, "%s %s\n", size(report.Bytes), map[bool]string{false: "freed", true: "would be free"}[*dry])
	return err
}

func (t *tool) check(ctx context.Context, flags *flag.FlagSet, args []string) error {
	repair := flags.Bool("repair", false, "fetch what is damaged from its registry")
	if _, err := parse(flags, args); err != nil {
		return err
	}
	e, err := t.open(ctx)
	if err != nil {
		return err
	}
	b := newBars(t.stderr)
	damage, err := image.Check(ctx, e, &image.CheckOptions{Progress: func(n, total int64) {
		b.show("store", "reading", n, total, n == total)
	}})
	b.end()
	if err != nil {
		return err
	}
	for _, d := range damage {
		fmt.Fprintln(t.stdout, d)
	}
	if len(damage) == 0 {
		fmt.Fprintln(t.stdout, "all is as its digest says")
		return nil
	}
	if !*repair {
		return fmt.Errorf("%d parts are damaged; -repair fetches them again", len(damage))
	}
	if err := image.Repair(ctx, e, nil, damage...); err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "%d parts are mended\n", len(damage))
	if slices.ContainsFunc(damage, func(d image.Damage) bool { return strings.Contains(d.MediaType, "manifest") }) {
		fmt.Fprintln(t.stdout, "a manifest was among them: check again")
	}
	return nil
}
