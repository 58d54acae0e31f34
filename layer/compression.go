package layer

import (
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Format is what a layer's tar is packed in.
type Format string

// The formats of layers (OCI image-spec, media-types.md). Every tool reads Gzip;
// Zstd is smaller and several times as fast to unpack, and Docker reads it from
// 23.0 on, containerd from 1.5 and podman from 1.8 on.
const (
	Gzip  Format = "gzip"
	Zstd  Format = "zstd"
	Plain Format = "none"
)

// Compression is how a layer is stored. The same tar and Compression give the same
// bytes on every machine and day, as long as the library has the same version of
// its compressor. The zero value is Gzip at its default level.
type Compression struct {
	// Format is Gzip unless set.
	Format Format

	// Level is how much time is spent on making the layer small: 1 to 9 of Gzip,
	// and 1 to 22 of Zstd, of which up to 2, 5, 9 and 22 are the same. 0 is the
	// format's default, 6 and 3. Plain has no other.
	Level int
}

// String returns the format, and the level where it is set: "zstd:19".
func (c Compression) String() string {
	s := string(c.format())
	if c.Level != 0 {
		s += fmt.Sprintf(":%d", c.Level)
	}
	return s
}

func (c Compression) format() Format {
	if c.Format == "" {
		return Gzip
	}
	return c.Format
}

// MediaType returns OCI's name for a layer that is packed so; "" of an unknown
// format.
func (c Compression) MediaType() string {
	return map[Format]string{
		Gzip:  ocispec.MediaTypeImageLayerGzip,
		Zstd:  ocispec.MediaTypeImageLayerZstd,
		Plain: ocispec.MediaTypeImageLayer,
	}[c.format()]
}

// NewWriter returns a writer that packs what is written to it, and writes that to w.
// Closing it writes the end, and does not close w. A format or a level that there is
// not is ErrInvalidArgument.
func (c Compression) NewWriter(w io.Writer) (io.WriteCloser, error) {
	most, known := map[Format]int{Gzip: gzip.BestCompression, Zstd: 22, Plain: 0}[c.format()]
	if !known {
		return nil, fmt.Errorf("layer: compression %q is none of gzip, zstd and none: %w", c.Format, errdefs.ErrInvalidArgument)
	}
	if c.Level < 0 || c.Level > most {
		return nil, fmt.Errorf("layer: level %d of %s is not from 0 to %d: %w", c.Level, c.format(), most, errdefs.ErrInvalidArgument)
	}
	switch c.format() {
	case Plain:
		return plain{w}, nil
	case Zstd:
		level := zstd.SpeedDefault
		if c.Level != 0 {
			level = zstd.EncoderLevelFromZstd(c.Level)
		}
		return zstd.NewWriter(w, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1))
	}
	if c.Level == 0 {
		return gzip.NewWriter(w), nil
	}
	return gzip.NewWriterLevel(w, c.Level)
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
