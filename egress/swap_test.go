package egress

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func swapped(t testing.TB, in string, chunk func(io.Reader) io.Reader, all []swap) string {
	out, err := io.ReadAll(newSwapping(io.NopCloser(chunk(strings.NewReader(in))), all))
	require.NoError(t, err)
	return string(out)
}

func whole(r io.Reader) io.Reader { return r }

func TestSwapping(t *testing.T) {
	all := sorted([]swap{{"aab", "X"}, {"aabaac", "Y"}, {"", "never"}, {"same", "same"}, {"b", ""}})
	for in, want := range map[string]string{
		"": "", "aab": "X", "aaab": "aX", "aabaac": "Y", "aabaab": "XX", "aabaa": "Xaa", "aa": "aa", "xaabaacx": "xYx", "bb": "",
		strings.Repeat("aaab", 10000): strings.Repeat("aX", 10000),
	} {
		for _, chunk := range []func(io.Reader) io.Reader{whole, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
			require.Equal(t, want, swapped(t, in, chunk, all))
			require.Equal(t, want, replace(in, all))
		}
	}
}

// What came is given at once, but for what may be the beginning of a secret.
func TestSwappingStreams(t *testing.T) {
	steps := []struct{ in, out string }{{"event 1\n", "event 1\n"}, {"a se", "a "}, {"nd\n", "send\n"}, {"sec", ""}, {"ret", "****"}}
	r, w := io.Pipe()
	defer r.Close()
	go func() {
		for _, step := range steps {
			_, _ = io.WriteString(w, step.in) // returns when it was read
		}
	}()
	s := newSwapping(r, []swap{{"secret", "****"}})
	buf := make([]byte, 100)
	for _, step := range steps {
		if step.out == "" {
			continue // it comes with the next
		}
		n, err := s.Read(buf)
		require.NoError(t, err)
		require.Equal(t, step.out, string(buf[:n]))
	}
}

func FuzzSwapping(f *testing.F) {
	f.Add("hello aab world", "aab", "x", "aabaac", "yy", uint8(3))
	f.Add("aaaaaaa", "aa", "b", "aaa", "c", uint8(1))
	f.Fuzz(func(t *testing.T, in, old1, new1, old2, new2 string, size uint8) {
		all := sorted([]swap{{old1, new1}, {old2, new2}})
		got := swapped(t, in, func(r io.Reader) io.Reader { return chunks{r, int(size%7) + 1} }, all)
		require.Equal(t, replace(in, all), got)
	})
}

type chunks struct {
	r io.Reader
	n int
}

func (c chunks) Read(p []byte) (int, error) { return c.r.Read(p[:min(c.n, len(p))]) }
