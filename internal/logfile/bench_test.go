package logfile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// chunks gives n bytes, so many at a time.
type chunks struct{ n, size int }

func (c *chunks) Read(p []byte) (int, error) {
	if c.n == 0 {
		return 0, io.EOF
	}
	n := min(c.n, c.size, len(p))
	c.n -= n
	return n, nil
}

func BenchmarkLog(b *testing.B) {
	for _, size := range []int{80, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			total := size * 4096
			b.SetBytes(int64(total))
			dir := b.TempDir()
			for b.Loop() {
				path := filepath.Join(dir, "log")
				l, err := Create(path, 0)
				require.NoError(b, err)
				require.NoError(b, l.Copy(Stdout, nil, &chunks{total, size}))
				require.NoError(b, l.End())
				require.NoError(b, os.Remove(file(path, 1)))
			}
		})
	}
}
