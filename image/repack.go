package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/errdefs"
)

const (
	maxList  = 20 << 20 // bytes of an archive's manifest.json
	maxLinks = 100_000  // in an archive
)

// repacked is an archive as containerd's importer reads it, made of one that was
// unpacked and packed again: names begin with "./", equal layers are links to one
// another, hard or not, to what comes later too, and manifest.json has the names
// that the packer's tool gave it. r is closed when it has been read, or was
// found to be damaged, or nothing is read any more of what repacked returns.
func repacked(r io.ReadCloser) io.ReadCloser {
	pr, pw := io.Pipe()
	go func() {
		defer r.Close()
		p := repacker{in: tar.NewReader(r), out: tar.NewWriter(pw), links: map[string]string{}, files: map[string]bool{}}
		err := p.run()
		if err == nil {
			// To its end as well: otherwise a compressed stream that is cut off
			// would not be noticed.
			_, err = io.Copy(io.Discard, r)
		}
		pw.CloseWithError(err)
	}()
	return pr
}

type repacker struct {
	in    *tar.Reader
	out   *tar.Writer
	links map[string]string // to where, by name
	files map[string]bool
}

func (p *repacker) run() error {
	for {
		h, err := p.in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := p.entry(h); err != nil {
			return err
		}
	}
	for name := range p.links {
		if err := p.link(name); err != nil {
			return err
		}
	}
	return p.out.Close()
}

func (p *repacker) entry(h *tar.Header) error {
	name := inArchive(h.Name)
	switch h.Typeflag {
	case tar.TypeReg:
		p.files[name] = true
		delete(p.links, name)
		if name == "manifest.json" {
			return p.list(h)
		}
		if err := p.out.WriteHeader(&tar.Header{Name: name, Size: h.Size, Mode: 0o600}); err != nil {
			return err
		}
		_, err := io.Copy(p.out, p.in)
		return err
	case tar.TypeLink:
		p.links[name] = inArchive(h.Linkname)
	case tar.TypeSymlink:
		p.links[name] = inArchive(path.Join(path.Dir(name), h.Linkname))
	}
	if len(p.links) > maxLinks {
		return fmt.Errorf("the archive has more than %d links: %w", maxLinks, errdefs.ErrInvalidArgument)
	}
	return nil
}

// link writes a link to what it leads to in the end, if that is a file.
func (p *repacker) link(name string) error {
	to := p.links[name]
	for n := 0; !p.files[to]; n++ {
		next, ok := p.links[to]
		if !ok || n == 40 { // as many as Linux follows
			return nil // if it is needed, the importer will say that it is missing
		}
		to = next
	}
	// The importer reads a link's target from its directory on.
	up := strings.Repeat("../", strings.Count(name, "/"))
	return p.out.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: up + to})
}

// list writes manifest.json with the names of files as they are now.
func (p *repacker) list(h *tar.Header) error {
	if h.Size > maxList {
		return fmt.Errorf("manifest.json of %d bytes, more than %d: %w", h.Size, maxList, errdefs.ErrInvalidArgument)
	}
	b, err := io.ReadAll(p.in)
	if err != nil {
		return err
	}
	var list []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("manifest.json: %w", errors.Join(err, errdefs.ErrInvalidArgument))
	}
	for i := range list {
		list[i].Config = inArchive(list[i].Config)
		for n, l := range list[i].Layers {
			list[i].Layers[n] = inArchive(l)
		}
	}
	if b, err = json.Marshal(list); err != nil {
		return err
	}
	if err := p.out.WriteHeader(&tar.Header{Name: "manifest.json", Size: int64(len(b)), Mode: 0o600}); err != nil {
		return err
	}
	_, err = p.out.Write(b)
	return err
}

// inArchive is a name as seen from the archive's root, which nothing leads out of.
func inArchive(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }
